// sub is the raw subscriber of the benchmark: nothing but libzmq between it and the kernel. It has the kernel publish a
// burst and says what of it arrived, as one line of JSON.
//
//   sub CONNECTION_FILE COUNT BYTES RATE
//
// Its own queue has no limit.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../jupyter/jupyter.h"

enum { QUIET_MS = 2000 }; // a burst whose idle was lost is over when nothing has come for so long

struct tally {
	int count, received, doubled, disordered, last;
	unsigned char *seen;
	double first_time, last_time;
	int idle, reply;
	char kernel_seconds[32];
};

static void *connect_to(void *context, int type, const struct connection *c, int port) {
	int none = 0;
	char address[512];
	void *socket = zmq_socket(context, type);
	endpoint(c, port, address);
	zmq_setsockopt(socket, ZMQ_RCVHWM, &none, sizeof none);
	zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
	if (zmq_connect(socket, address)) die(address);
	return socket;
}

static void ask(void *shell, const char *type, const char *content) {
	char header[HEADER_MAX];
	struct message m = {header, "{}", "{}", content, make_header("sub", type, header), 2, 2, strlen(content)};
	send_message(shell, NULL, &m);
}

// take reads one message and returns its content, which must be closed.
static zmq_msg_t take(void *socket) {
	zmq_msg_t part;
	int more = 1;
	zmq_msg_init(&part);
	while (more) more = receive_part(socket, &part);
	return part;
}

static int contains(zmq_msg_t *m, const char *text) { return memmem(zmq_msg_data(m), zmq_msg_size(m), text, strlen(text)) != NULL; }

static int readable(void *socket, long ms) {
	zmq_pollitem_t in = {socket, 0, ZMQ_POLLIN, 0};
	return zmq_poll(&in, 1, ms) > 0;
}

// settle waits until the subscription is in force: a kernel's status arrives.
static void settle(void *shell, void *iopub) {
	int known = 0;
	while (!known) {
		ask(shell, "kernel_info_request", "{}");
		zmq_msg_t reply = take(shell);
		zmq_msg_close(&reply);
		while (readable(iopub, 20)) {
			zmq_msg_t m = take(iopub);
			known |= contains(&m, "idle");
			zmq_msg_close(&m);
		}
	}
}

static void note(struct tally *t, zmq_msg_t *content) {
	static const char begin[] = "{\"name\":\"stdout\",\"text\":\"burst#";
	const char *text = zmq_msg_data(content);
	if (zmq_msg_size(content) > sizeof begin + 8 && !memcmp(text, begin, sizeof begin - 1)) {
		int n = atoi(text + sizeof begin - 1);
		if (n < 0 || n >= t->count) return;
		t->last_time = now();
		if (!t->received++) t->first_time = t->last_time;
		t->doubled += t->seen[n];
		t->seen[n] = 1;
		t->disordered += n < t->last;
		t->last = n;
	} else if (contains(content, "\"idle\"")) t->idle = 1;
}

static void count(struct tally *t, void *shell, void *iopub) {
	zmq_pollitem_t in[] = {{iopub, 0, ZMQ_POLLIN, 0}, {shell, 0, ZMQ_POLLIN, 0}};
	while (!t->idle || !t->reply) {
		int n = zmq_poll(in, 2, QUIET_MS);
		if (n < 0) die("poll");
		if (n == 0 && t->reply) return;
		if (in[1].revents) {
			zmq_msg_t m = take(shell);
			t->reply = 1;
			field(zmq_msg_data(&m), zmq_msg_size(&m), "burst_seconds", t->kernel_seconds, sizeof t->kernel_seconds);
			zmq_msg_close(&m);
		}
		for (int i = 0; in[0].revents && i < 1000 && (i == 0 || readable(iopub, 0)); i++) {
			zmq_msg_t m = take(iopub);
			note(t, &m);
			zmq_msg_close(&m);
		}
	}
}

int main(int argc, char **argv) {
	if (argc != 5) {
		fprintf(stderr, "usage: sub CONNECTION_FILE COUNT BYTES RATE\n");
		return 2;
	}
	struct connection c;
	read_connection(argv[1], &c);
	set_key(c.key);
	void *context = zmq_ctx_new(), *shell = connect_to(context, ZMQ_DEALER, &c, c.shell), *iopub = connect_to(context, ZMQ_SUB, &c, c.iopub);
	zmq_setsockopt(iopub, ZMQ_SUBSCRIBE, "", 0);
	settle(shell, iopub);
	struct tally t = {.count = atoi(argv[2]), .last = -1, .kernel_seconds = "0"};
	t.seen = calloc(t.count, 1);
	char content[256];
	snprintf(content, sizeof content, "{\"code\":\"burst %s %s %s\",\"silent\":false}", argv[2], argv[3], argv[4]);
	ask(shell, "execute_request", content);
	count(&t, shell, iopub);
	printf("{\"received\":%d,\"lost\":%d,\"doubled\":%d,\"disordered\":%d,\"seconds\":%.6f,\"kernel_seconds\":%s,\"idle\":%s,\"reply\":%s}\n",
		t.received, t.count - (t.received - t.doubled), t.doubled, t.disordered, t.last_time - t.first_time, t.kernel_seconds,
		t.idle ? "true" : "false", t.reply ? "true" : "false");
	zmq_close(shell);
	zmq_close(iopub);
	zmq_ctx_term(context);
}
