// What the kernel and the raw clients of the benchmark share: connection files, signed messages, time.
// Everything here trusts its peer. These programs measure; they protect nobody.
#ifndef JUPYTER_H
#define JUPYTER_H

#include <stddef.h>
#include <zmq.h>

struct connection {
	char transport[8], ip[256], key[256];
	int shell, iopub, stdin_, control, heartbeat;
};

// A message as it lies in a ZeroMQ multipart message behind its routing frames. The pointers are the caller's.
struct message {
	const char *header, *parent, *metadata, *content;
	size_t header_size, parent_size, metadata_size, content_size;
};

enum { SIGNATURE = 64, HEADER_MAX = 512 };

// die ends the process with the last error of ZeroMQ or the system.
_Noreturn void die(const char *step);
void read_connection(const char *path, struct connection *c);
// endpoint writes the ZeroMQ address of a port.
void endpoint(const struct connection *c, int port, char out[512]);
// set_key is called once, before sign.
void set_key(const char *key);
// sign writes the hexadecimal HMAC-SHA256 of the four parts, without a closing zero.
void sign(const struct message *m, char out[SIGNATURE]);
// field copies the value of a JSON member, found by name, from text that need not end with a zero; strings without
// their quotes and escapes unread. It returns 0 when there is none.
int field(const char *json, size_t size, const char *name, char *out, size_t out_size);
// make_header writes a header with a new msg_id (SESSION_NUMBER) and returns its size.
size_t make_header(const char *session, const char *type, char out[HEADER_MAX]);
// send_message sends delimiter, signature and the four parts, behind one routing frame or topic if there is one.
void send_message(void *socket, const char *first, const struct message *m);
// receive_part receives one frame into an initialised message and says whether more follow.
int receive_part(void *socket, zmq_msg_t *part);
double now(void); // seconds of the monotonic clock

#endif
