#include "jupyter.h"

#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static EVP_MAC_CTX *mac; // NULL without a key: messages are then not signed

void die(const char *step) {
	fprintf(stderr, "%s: %s\n", step, zmq_strerror(zmq_errno()));
	exit(1);
}

double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int field(const char *json, size_t size, const char *name, char *out, size_t out_size) {
	char quoted[64];
	int length = snprintf(quoted, sizeof quoted, "\"%s\"", name);
	const char *end = json + size, *p = memmem(json, size, quoted, length);
	if (!p) return 0;
	for (p += length; p < end && (*p == ':' || *p == ' '); p++) {}
	int string = p < end && *p == '"';
	if (string) p++;
	size_t n = 0;
	for (; p < end && n + 1 < out_size && (string ? *p != '"' : !strchr(",} \n", *p)); p++) out[n++] = *p;
	out[n] = 0;
	return 1;
}

static int port(const char *json, size_t size, const char *name) {
	char text[16];
	if (!field(json, size, name, text, sizeof text)) {
		fprintf(stderr, "connection file without %s\n", name);
		exit(1);
	}
	return atoi(text);
}

void read_connection(const char *path, struct connection *c) {
	char json[16384];
	FILE *f = fopen(path, "r");
	if (!f) die(path);
	size_t n = fread(json, 1, sizeof json, f);
	fclose(f);
	memset(c, 0, sizeof *c);
	strcpy(c->transport, "tcp");
	field(json, n, "transport", c->transport, sizeof c->transport);
	field(json, n, "ip", c->ip, sizeof c->ip);
	field(json, n, "key", c->key, sizeof c->key);
	c->shell = port(json, n, "shell_port");
	c->iopub = port(json, n, "iopub_port");
	c->stdin_ = port(json, n, "stdin_port");
	c->control = port(json, n, "control_port");
	c->heartbeat = port(json, n, "hb_port");
}

void endpoint(const struct connection *c, int port, char out[512]) {
	int ipc = !strcmp(c->transport, "ipc");
	snprintf(out, 512, "%s://%s%c%d", c->transport, c->ip, ipc ? '-' : ':', port);
}

void set_key(const char *key) {
	if (!*key) return;
	char digest[] = "SHA256";
	OSSL_PARAM how[] = {OSSL_PARAM_construct_utf8_string("digest", digest, 0), OSSL_PARAM_construct_end()};
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	mac = EVP_MAC_CTX_new(hmac);
	if (!EVP_MAC_init(mac, (const unsigned char *)key, strlen(key), how)) {
		fprintf(stderr, "HMAC-SHA256 is not to be had\n");
		exit(1);
	}
}

void sign(const struct message *m, char out[SIGNATURE]) {
	unsigned char raw[32] = {0};
	size_t size;
	EVP_MAC_init(mac, NULL, 0, NULL); // the same key again
	EVP_MAC_update(mac, (const unsigned char *)m->header, m->header_size);
	EVP_MAC_update(mac, (const unsigned char *)m->parent, m->parent_size);
	EVP_MAC_update(mac, (const unsigned char *)m->metadata, m->metadata_size);
	EVP_MAC_update(mac, (const unsigned char *)m->content, m->content_size);
	EVP_MAC_final(mac, raw, &size, sizeof raw);
	for (int i = 0; i < 32; i++) {
		out[2 * i] = "0123456789abcdef"[raw[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[raw[i] & 15];
	}
}

size_t make_header(const char *session, const char *type, char out[HEADER_MAX]) {
	static unsigned long number;
	struct timespec t;
	struct tm utc;
	char date[32];
	clock_gettime(CLOCK_REALTIME, &t);
	gmtime_r(&t.tv_sec, &utc);
	strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
	return snprintf(out, HEADER_MAX,
		"{\"msg_id\":\"%s_%lu\",\"msg_type\":\"%s\",\"username\":\"echo\",\"session\":\"%s\",\"date\":\"%s.%06ldZ\",\"version\":\"5.3\"}",
		session, ++number, type, session, date, t.tv_nsec / 1000);
}

static void send_part(void *socket, const void *data, size_t size, int more) {
	if (zmq_send(socket, data, size, more) < 0) die("send");
}

void send_message(void *socket, const char *first, const struct message *m) {
	char signature[SIGNATURE];
	size_t signed_size = 0;
	if (mac) {
		sign(m, signature);
		signed_size = SIGNATURE;
	}
	if (first) send_part(socket, first, strlen(first), ZMQ_SNDMORE);
	send_part(socket, "<IDS|MSG>", 9, ZMQ_SNDMORE);
	send_part(socket, signature, signed_size, ZMQ_SNDMORE);
	send_part(socket, m->header, m->header_size, ZMQ_SNDMORE);
	send_part(socket, m->parent, m->parent_size, ZMQ_SNDMORE);
	send_part(socket, m->metadata, m->metadata_size, ZMQ_SNDMORE);
	send_part(socket, m->content, m->content_size, 0);
}

int receive_part(void *socket, zmq_msg_t *part) {
	if (zmq_msg_recv(part, socket, 0) < 0) die("receive");
	return zmq_msg_more(part);
}
