// ask is the raw client of the benchmark: it asks a kernel again and again, with nothing but libzmq between them, and
// prints how long each answer took, in microseconds, one a line. Of an execute_request the answer is the reply and the
// closing idle, of a kernel_info_request the reply.
//
//   ask CONNECTION_FILE kernel_info|execute COUNT
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../jupyter/jupyter.h"

static void *connect_to(void *context, int type, const struct connection *c, int port) {
	int none = 0;
	char address[512];
	void *socket = zmq_socket(context, type);
	endpoint(c, port, address);
	zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
	if (zmq_connect(socket, address)) die(address);
	return socket;
}

// take reads one message and says whether its content has the text.
static int take(void *socket, const char *text) {
	zmq_msg_t part;
	int more = 1;
	zmq_msg_init(&part);
	while (more) more = receive_part(socket, &part);
	int found = memmem(zmq_msg_data(&part), zmq_msg_size(&part), text, strlen(text)) != NULL;
	zmq_msg_close(&part);
	return found;
}

// once asks and waits for the answer.
static double once(void *shell, void *iopub, const char *type, int want_idle) {
	static const char content[] = "{\"code\":\"\",\"silent\":false,\"store_history\":false,\"user_expressions\":{},\"allow_stdin\":false}";
	char header[HEADER_MAX];
	double start = now();
	struct message m = {header, "{}", "{}", content, make_header("ask", type, header), 2, 2, sizeof content - 1};
	send_message(shell, NULL, &m);
	zmq_pollitem_t in[] = {{shell, 0, ZMQ_POLLIN, 0}, {iopub, 0, ZMQ_POLLIN, 0}};
	for (int reply = 0, idle = !want_idle; !reply || !idle;) {
		if (zmq_poll(in, want_idle ? 2 : 1, 5000) <= 0) die("wait for the answer");
		if (in[0].revents) reply |= take(shell, "\"ok\"");
		if (want_idle && in[1].revents) idle |= take(iopub, "\"idle\"");
	}
	double taken = now() - start;
	while (!want_idle && zmq_poll(&in[1], 1, 0) > 0) take(iopub, ""); // statuses that nobody waited for
	return taken;
}

int main(int argc, char **argv) {
	if (argc != 4) {
		fprintf(stderr, "usage: ask CONNECTION_FILE kernel_info|execute COUNT\n");
		return 2;
	}
	struct connection c;
	char type[64];
	int idle = !strcmp(argv[2], "execute");
	read_connection(argv[1], &c);
	set_key(c.key);
	snprintf(type, sizeof type, "%s_request", argv[2]);
	void *context = zmq_ctx_new(), *shell = connect_to(context, ZMQ_DEALER, &c, c.shell), *iopub = connect_to(context, ZMQ_SUB, &c, c.iopub);
	zmq_setsockopt(iopub, ZMQ_SUBSCRIBE, "", 0);
	zmq_pollitem_t in = {iopub, 0, ZMQ_POLLIN, 0};
	do once(shell, iopub, "kernel_info_request", 0);
	while (zmq_poll(&in, 1, 20) == 0); // until the subscription is in force
	while (zmq_poll(&in, 1, 100) > 0) take(iopub, "");
	for (int i = atoi(argv[3]); i > 0; i--) printf("%.1f\n", once(shell, iopub, type, idle) * 1e6);
	zmq_close(shell);
	zmq_close(iopub);
	zmq_ctx_term(context);
}
