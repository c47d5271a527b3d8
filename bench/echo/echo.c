// echo is a Jupyter kernel that does nothing, as fast as it can: its own cost must not hide that of what is measured.
//
//   echo CONNECTION_FILE [HIGH_WATER_MARK]
//
// The iopub socket keeps so many messages at most for a subscriber, as ipykernel's does (1000); with 0 there is no limit.
// It answers kernel_info_request and execute_request as ipykernel does (busy, reply, idle). The code of a cell is a list
// of commands:
//
//   wait MILLISECONDS
//   burst COUNT BYTES RATE    publishes so many numbered stream messages with a text of so many bytes, so many a second
//                             (0: flat out). They are prepared and signed before the clock starts
//
// The closing idle goes through the same socket as the burst. The reply's content has how long the burst took
// ("burst_seconds").
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../jupyter/jupyter.h"

enum {
	PARTS = 7,          // of a published message: topic, delimiter, signature, header, parent, metadata, content
	IDENTITIES = 4,     // routing frames of a request, at most
	TICK_MS = 1,        // a burst with a rate sends what is due this often
	CATCH_UP_MS = 4,    // and after a pause no more than this much at once
};

static char session[64];
static void *iopub;
static double burst_seconds;

struct request {
	zmq_msg_t part[IDENTITIES + 6]; // identities, delimiter, signature, header, parent, metadata, content
	int identities;
	struct message m;
};

// publish sends a message on iopub whose parent is the request.
static void publish(const struct request *r, const char *type, const char *content) {
	char header[HEADER_MAX], topic[128];
	struct message m = {header, r->m.header, "{}", content, make_header(session, type, header), r->m.header_size, 2, strlen(content)};
	snprintf(topic, sizeof topic, "kernel.%s.%s", session, type);
	send_message(iopub, topic, &m);
}

static void reply(void *socket, struct request *r, const char *type, const char *content) {
	char header[HEADER_MAX];
	struct message m = {header, r->m.header, "{}", content, make_header(session, type, header), r->m.header_size, 2, strlen(content)};
	for (int i = 0; i < r->identities; i++)
		if (zmq_msg_send(&r->part[i], socket, ZMQ_SNDMORE) < 0) die("reply");
	send_message(socket, NULL, &m);
}

static void put(zmq_msg_t *part, const void *data, size_t size) {
	if (zmq_msg_init_size(part, size)) die("allocate");
	memcpy(zmq_msg_data(part), data, size);
}

// prepare makes the parts of message number n of a burst.
static void prepare(zmq_msg_t *part, const struct request *r, int n, int bytes) {
	static const char begin[] = "{\"name\":\"stdout\",\"text\":\"burst#", end[] = "\\n\"}";
	size_t fixed = sizeof begin - 1 + sizeof end - 1;
	int text = bytes < 20 ? 20 : bytes; // "burst#" and the line's end are part of the text, and so is the number
	size_t size = fixed + text - 7;
	char header[HEADER_MAX], signature[SIGNATURE] = {0}, topic[128], number[16];
	if (zmq_msg_init_size(&part[6], size)) die("allocate");
	char *content = zmq_msg_data(&part[6]);
	memcpy(content, begin, sizeof begin - 1);
	memset(content + sizeof begin - 1, 'x', text - 7);
	memcpy(content + sizeof begin - 1, number, snprintf(number, sizeof number, "%08d ", n));
	memcpy(content + size - (sizeof end - 1), end, sizeof end - 1);
	struct message m = {header, r->m.header, "{}", content, make_header(session, "stream", header), r->m.header_size, 2, size};
	sign(&m, signature);
	put(&part[0], topic, snprintf(topic, sizeof topic, "kernel.%s.stream.stdout", session));
	put(&part[1], "<IDS|MSG>", 9);
	put(&part[2], signature, SIGNATURE);
	put(&part[3], header, m.header_size);
	put(&part[4], r->m.header, r->m.header_size);
	put(&part[5], "{}", 2);
}

static void sleep_until(double when) {
	struct timespec t = {(time_t)when, (long)((when - (time_t)when) * 1e9)};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL)) {}
}

// due waits until at least one more message may be sent and returns how many may.
static int due(double *last, int rate, int left) {
	if (!rate) return left;
	int n;
	do {
		sleep_until(now() + TICK_MS / 1e3);
		double t = now(), passed = t - *last;
		if (passed > CATCH_UP_MS / 1e3) {
			*last = t - CATCH_UP_MS / 1e3;
			passed = CATCH_UP_MS / 1e3;
		}
		n = (int)(passed * rate);
	} while (n == 0);
	*last += (double)n / rate;
	return n < left ? n : left;
}

static void burst(const struct request *r, int count, int bytes, int rate) {
	zmq_msg_t *part = malloc(sizeof *part * PARTS * count);
	if (!part) die("allocate");
	for (int i = 0; i < count; i++) prepare(part + (size_t)i * PARTS, r, i, bytes);
	double start = now(), last = start;
	for (int i = 0; i < count;)
		for (int n = due(&last, rate, count - i); n > 0; n--, i++)
			for (int p = 0; p < PARTS; p++)
				if (zmq_msg_send(&part[(size_t)i * PARTS + p], iopub, p + 1 < PARTS ? ZMQ_SNDMORE : 0) < 0) die("publish");
	burst_seconds = now() - start;
	free(part);
}

// run does what a cell says. What it does not know it leaves out.
static void run(const struct request *r, char *code) {
	for (char *word = strtok(code, " "); word; word = strtok(NULL, " ")) {
		int n[3] = {0}, want = !strcmp(word, "burst") ? 3 : !strcmp(word, "wait");
		for (int i = 0; i < want && (word = strtok(NULL, " ")); i++) n[i] = atoi(word);
		if (!word) return;
		if (want == 3) burst(r, n[0], n[1], n[2]);
		else if (want) usleep(n[0] * 1000);
	}
}

static void handle(void *socket, struct request *r) {
	static const char info[] = "{\"status\":\"ok\",\"protocol_version\":\"5.3\",\"implementation\":\"echo\",\"implementation_version\":\"1\","
		"\"language_info\":{\"name\":\"echo\",\"version\":\"1\",\"mimetype\":\"text/plain\",\"file_extension\":\".txt\"},\"banner\":\"\",\"help_links\":[]}";
	char type[64] = "", code[1024] = "", content[256];
	field(r->m.header, r->m.header_size, "msg_type", type, sizeof type);
	publish(r, "status", "{\"execution_state\":\"busy\"}");
	if (!strcmp(type, "kernel_info_request")) reply(socket, r, "kernel_info_reply", info);
	else if (!strcmp(type, "execute_request")) {
		field(r->m.content, r->m.content_size, "code", code, sizeof code);
		burst_seconds = 0;
		run(r, code);
		snprintf(content, sizeof content, "{\"status\":\"ok\",\"execution_count\":1,\"user_expressions\":{},\"payload\":[],\"burst_seconds\":%.6f}", burst_seconds);
		reply(socket, r, "execute_reply", content);
	} else if (strstr(type, "_request")) { // interrupt, shutdown, and what a client may ask for besides
		strcpy(strstr(type, "_request"), "_reply");
		reply(socket, r, type, "{\"status\":\"ok\",\"restart\":false,\"comms\":{}}");
	}
	publish(r, "status", "{\"execution_state\":\"idle\"}");
	if (!strcmp(type, "shutdown_reply")) exit(0);
}

// receive takes one request and answers it if it is well-formed and its signature is right.
static void receive(void *socket, int is_signed) {
	struct request r = {.identities = -1};
	int more = 1, n = 0;
	for (; more && n < IDENTITIES + 6; n++) {
		zmq_msg_init(&r.part[n]);
		more = receive_part(socket, &r.part[n]);
		if (r.identities < 0 && zmq_msg_size(&r.part[n]) == 9 && !memcmp(zmq_msg_data(&r.part[n]), "<IDS|MSG>", 9)) r.identities = n;
	}
	for (zmq_msg_t rest; more; zmq_msg_close(&rest)) { // buffers
		zmq_msg_init(&rest);
		more = receive_part(socket, &rest);
	}
	if (r.identities > 0 && n >= r.identities + 6) {
		zmq_msg_t *p = &r.part[r.identities + 1];
		char expected[SIGNATURE];
		r.m = (struct message){zmq_msg_data(&p[1]), zmq_msg_data(&p[2]), zmq_msg_data(&p[3]), zmq_msg_data(&p[4]),
			zmq_msg_size(&p[1]), zmq_msg_size(&p[2]), zmq_msg_size(&p[3]), zmq_msg_size(&p[4])};
		if (is_signed) sign(&r.m, expected);
		if (!is_signed || (zmq_msg_size(&p[0]) == SIGNATURE && !memcmp(zmq_msg_data(&p[0]), expected, SIGNATURE))) handle(socket, &r);
	}
	for (int i = 0; i < n; i++) zmq_msg_close(&r.part[i]);
}

static void *heartbeat(void *socket) {
	zmq_msg_t part;
	while (1) {
		zmq_msg_init(&part);
		int more = receive_part(socket, &part);
		if (zmq_msg_send(&part, socket, more ? ZMQ_SNDMORE : 0) < 0) die("heartbeat");
	}
}

static void *listen_on(void *context, int type, const struct connection *c, int port, int mark) {
	char address[512];
	void *socket = zmq_socket(context, type);
	endpoint(c, port, address);
	if (mark >= 0 && zmq_setsockopt(socket, ZMQ_SNDHWM, &mark, sizeof mark)) die("high-water mark");
	if (zmq_bind(socket, address)) die(address);
	return socket;
}

int main(int argc, char **argv) {
	if (argc < 2) {
		fprintf(stderr, "usage: echo CONNECTION_FILE [HIGH_WATER_MARK]\n");
		return 2;
	}
	struct connection c;
	read_connection(argv[1], &c);
	set_key(c.key);
	snprintf(session, sizeof session, "echo-%lx-%lx", (long)time(NULL), (long)(now() * 1e6) & 0xffffff);
	void *context = zmq_ctx_new();
	iopub = listen_on(context, ZMQ_PUB, &c, c.iopub, argc > 2 ? atoi(argv[2]) : 1000);
	zmq_pollitem_t in[] = {
		{listen_on(context, ZMQ_ROUTER, &c, c.control, -1), 0, ZMQ_POLLIN, 0},
		{listen_on(context, ZMQ_ROUTER, &c, c.shell, -1), 0, ZMQ_POLLIN, 0},
		{listen_on(context, ZMQ_ROUTER, &c, c.stdin_, -1), 0, ZMQ_POLLIN, 0},
	};
	pthread_t thread;
	if (pthread_create(&thread, NULL, heartbeat, listen_on(context, ZMQ_REP, &c, c.heartbeat, -1))) die("thread");
	for (;;) {
		if (zmq_poll(in, 3, -1) < 0) die("poll");
		for (int i = 0; i < 3; i++)
			if (in[i].revents) receive(in[i].socket, *c.key != 0);
	}
}
