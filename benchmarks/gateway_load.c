/* A target and a load generator for benchmarks/gateway.py, each on one thread, fast enough not to be what is measured.
 *
 *   load mock [CERT]                       answers Messages and Chat Completions; prints its port
 *   load closed PORT FILE SECONDS CONNS    each connection asks again as soon as it is answered
 *   load open PORT FILE SECONDS CONNS RATE requests due at fixed times, latency counted from when each was due
 *   load streams PORT FILE COUNT SPREAD_S  so many streams at once; each token says when it was sent
 *
 * FILE holds one HTTP request as it goes over the wire; eight @ in it become a number that no other request has. One JSON object on stdout. With -DTLS (and -lssl -lcrypto) the target speaks TLS
 * where a certificate is given.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#ifdef TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
static SSL_CTX *tls;
#else
typedef void SSL;
#endif

#define MAX_FD 20000
#define KEEP 8192 /* bytes of a message that are kept to be looked at */

typedef struct {
    int fd, used, chat, stream;
    long need, got; /* bytes of the message under way: whole length once its head is known, so far */
    int left, sent;  /* tokens of a stream still to send, sent */
    double due;
    SSL *ssl;
    char head[KEEP + 1];
    char *out; /* what could not be written yet */
    long out_len, out_at;
} Conn;

static Conn *conns[MAX_FD];
static int poller, alarm_fd = -1;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static Conn *watch(int fd) {
    if (fd >= MAX_FD) { errno = EMFILE; die("too many connections"); }
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    Conn *c = conns[fd] = calloc(1, sizeof *c);
    c->fd = fd;
    c->need = -1;
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
    return c;
}

static void drop(Conn *c) {
    conns[c->fd] = NULL;
#ifdef TLS
    if (c->ssl) SSL_free(c->ssl);
#endif
    close(c->fd);
    free(c->out);
    free(c);
}

/* 0: nothing now, -1: closed, else bytes */
static long take(Conn *c, char *into, long room) {
#ifdef TLS
    if (c->ssl) {
        ERR_clear_error(); /* another connection's end must not pass for this one's */
        int n = SSL_read(c->ssl, into, (int)room);
        if (n > 0) return n;
        int why = SSL_get_error(c->ssl, n);
        return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
    }
#endif
    long n = read(c->fd, into, room);
    if (n > 0) return n;
    return n < 0 && errno == EAGAIN ? 0 : -1;
}

static void flush(Conn *c) {
    while (c->out_at < c->out_len) {
        long n;
#ifdef TLS
        if (c->ssl) {
            n = SSL_write(c->ssl, c->out + c->out_at, (int)(c->out_len - c->out_at));
            if (n <= 0) break;
        } else
#endif
            n = write(c->fd, c->out + c->out_at, c->out_len - c->out_at);
        if (n <= 0) break;
        c->out_at += n;
    }
    int more = c->out_at < c->out_len;
    if (!more) c->out_at = c->out_len = 0;
    struct epoll_event e = {.events = EPOLLIN | (more ? EPOLLOUT : 0), .data.fd = c->fd};
    if (more || c->used) epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
    c->used = more;
}

static void give(Conn *c, const char *data, long length) {
    if (c->out_len == 0) { /* the usual case needs no copy */
        long n = 0;
#ifdef TLS
        if (c->ssl) {
            n = SSL_write(c->ssl, data, (int)length);
        } else
#endif
            n = write(c->fd, data, length);
        if (n < 0) n = 0;
        if (n == length) return;
        data += n;
        length -= n;
    }
    c->out = realloc(c->out, c->out_len + length);
    memcpy(c->out + c->out_len, data, length);
    c->out_len += length;
    flush(c);
}

/* Count a message's bytes; 1 once it is whole. `chunked` answers end with an empty chunk. */
static int count(Conn *c, const char *data, long n) {
    if (c->got < KEEP) {
        long part = n < KEEP - c->got ? n : KEEP - c->got;
        memcpy(c->head + c->got, data, part);
        c->head[c->got + part] = 0;
    }
    c->got += n;
    if (c->need < 0) {
        char *end = strstr(c->head, "\r\n\r\n");
        if (!end) return 0;
        char *at = strcasestr(c->head, "\ncontent-length:");
        c->need = end + 4 - c->head + (at && at < end ? atol(at + 16) : 0);
    }
    return c->got >= c->need;
}

/* --- the target */

static const char *TEXT = "word word word word word word word word word word word word word word word word word word word word word word word word word word ";
static char whole[2][2048];
static long whole_len[2];
static const char *STREAM_HEAD = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nrequest-id: r1\r\ntransfer-encoding: chunked\r\n\r\n";
static const char *START = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"opus\","
                           "\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":100,\"output_tokens\":1}}}\n\n"
                           "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
static const char *END = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
                         "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":50}}\n\n"
                         "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
static const char *CHAT_END = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"opus\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
                              "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"opus\",\"choices\":[],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":50,\"total_tokens\":150}}\n\n"
                              "data: [DONE]\n\n";

static const char *LIMITS = "HTTP/1.1 200 OK\r\ndate: Thu, 26 Nov 2026 12:00:%02ld GMT\r\ncontent-type: application/json\r\ncontent-length: %zu\r\nconnection: keep-alive\r\n"
                            "anthropic-ratelimit-requests-limit: 400000000\r\nanthropic-ratelimit-requests-remaining: %ld\r\nanthropic-ratelimit-requests-reset: 2026-11-26T12:00:00Z\r\n"
                            "anthropic-ratelimit-tokens-limit: 40000000000\r\nanthropic-ratelimit-tokens-remaining: %ld\r\nanthropic-ratelimit-tokens-reset: 2026-11-26T12:00:00Z\r\n"
                            "request-id: req_%020ld\r\nstrict-transport-security: max-age=31536000\r\nvia: 1.1 google\r\ncf-cache-status: DYNAMIC\r\nserver: cloudflare\r\ncf-ray: %016lx-FRA\r\n\r\n%s";

static void answers(void) {
    char body[1024];
    snprintf(body, sizeof body,
             "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"opus\",\"content\":[{\"type\":\"text\",\"text\":\"%s\"}],\"stop_reason\":\"end_turn\","
             "\"stop_sequence\":null,\"usage\":{\"input_tokens\":100,\"cache_read_input_tokens\":50,\"output_tokens\":30}}", TEXT);
    whole_len[0] = snprintf(whole[0], sizeof whole[0], "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nrequest-id: r1\r\ncontent-length: %zu\r\n\r\n%s", strlen(body), body);
    snprintf(body, sizeof body,
             "{\"id\":\"c1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"opus\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},"
             "\"finish_reason\":\"stop\",\"logprobs\":null}],\"usage\":{\"prompt_tokens\":150,\"completion_tokens\":30,\"total_tokens\":180,\"prompt_tokens_details\":{\"cached_tokens\":50}}}", TEXT);
    whole_len[1] = snprintf(whole[1], sizeof whole[1], "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nrequest-id: r1\r\ncontent-length: %zu\r\n\r\n%s", strlen(body), body);
}

static void chunk(Conn *c, const char *head, const char *data, const char *tail) {
    char out[4096];
    int n = snprintf(out, sizeof out, "%s%zx\r\n%s\r\n%s", head, strlen(data), data, tail);
    give(c, out, n);
}

static void token(Conn *c, double at) {
    char event[512], first[2048];
    if (c->chat)
        snprintf(event, sizeof event, "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"opus\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%.6f\"},\"finish_reason\":null}]}\n\n", at);
    else
        snprintf(event, sizeof event, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"%.6f\"}}\n\n", at);
    if (c->sent == 0) {
        snprintf(first, sizeof first, "%s%s", c->chat ? "" : START, event);
        chunk(c, STREAM_HEAD, first, "");
    } else {
        chunk(c, "", event, "");
    }
    c->sent++;
    if (--c->left == 0) {
        chunk(c, "", c->chat ? CHAT_END : END, "0\r\n\r\n");
        c->stream = 0;
    }
}

static void asked(Conn *c) {
    char *end = strstr(c->head, "\r\n\r\n");
    int chat = !strncmp(c->head, "POST /v1/chat", 13);
    char *said = strstr(end, "\"stream\":");
    if (said && said[9 + (said[9] == ' ')] == 't') {
        char *most = strstr(end, "\"max_tokens\":");
        c->left = most ? atoi(most + 13) : 50;
        c->sent = 0;
        c->chat = chat;
        c->stream = 1;
        c->due = now_s();
        token(c, c->due);
        c->due += 0.02;
    } else if (!strncmp(c->head, "GET ", 4)) {
        static const char *models = "{\"object\":\"list\",\"data\":[{\"id\":\"gpt\",\"object\":\"model\",\"owned_by\":\"vllm\",\"root\":\"gpt\",\"created\":1,\"max_model_len\":4096}]}";
        char fine[512];
        give(c, fine, snprintf(fine, sizeof fine, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s", strlen(models), models));
    } else if (strstr(end, "\"model\":\"limits\"")) { /* as providers do: something new in each head */
        static long left = 400000000;
        char out[4096], *body = strstr(whole[0], "\r\n\r\n") + 4;
        left--;
        give(c, out, snprintf(out, sizeof out, LIMITS, left % 60, strlen(body), left, left * 100, left, left, body));
    } else {
        give(c, whole[chat], whole_len[chat]);
    }
    c->need = -1;
    c->got = 0;
}

static void mock(const char *certificate) {
    answers();
#ifdef TLS
    if (certificate) {
        tls = SSL_CTX_new(TLS_server_method());
        SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        if (SSL_CTX_use_certificate_chain_file(tls, certificate) != 1 || SSL_CTX_use_PrivateKey_file(tls, certificate, SSL_FILETYPE_PEM) != 1) {
            ERR_print_errors_fp(stderr);
            exit(1);
        }
    }
#else
    if (certificate) { fprintf(stderr, "built without TLS\n"); exit(1); }
#endif
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    if (bind(listener, (void *)&at, size) || listen(listener, 4096) || getsockname(listener, (void *)&at, &size)) die("listen");
    fcntl(listener, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, got[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    static char buffer[1 << 18];
    int top = 0, streaming = 0;
    for (;;) {
        int n = epoll_wait(poller, got, 256, streaming ? 1 : 1000);
        for (int i = 0; i < n; i++) {
            int fd = got[i].data.fd;
            if (fd == listener) {
                int new;
                while ((new = accept(listener, NULL, NULL)) >= 0) {
                    Conn *c = watch(new);
                    if (new >= top) top = new + 1;
#ifdef TLS
                    if (certificate) {
                        c->ssl = SSL_new(tls);
                        SSL_set_fd(c->ssl, new);
                        SSL_set_accept_state(c->ssl);
                    }
#endif
                    (void)c;
                }
                continue;
            }
            Conn *c = conns[fd];
            if (!c) continue;
            if (got[i].events & EPOLLOUT) flush(c);
            long part;
            while ((part = take(c, buffer, sizeof buffer)) > 0) {
                if (count(c, buffer, part)) asked(c);
                if (!c->ssl && part < (long)sizeof buffer) break;
            }
            if (part < 0) drop(c);
        }
        streaming = 0;
        double now = now_s();
        for (int fd = 0; fd < top; fd++) {
            Conn *c = conns[fd];
            if (!c || !c->stream) continue;
            if (now >= c->due) { token(c, now); c->due += 0.02; }
            streaming |= c->stream;
        }
    }
}

/* --- the load */

static char *raw, *own;
static long raw_len;
static struct sockaddr_in target = {.sin_family = AF_INET};

static void read_request(const char *port, const char *path) {
    target.sin_port = htons(atoi(port));
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    FILE *f = fopen(path, "rb");
    if (!f) die(path);
    fseek(f, 0, SEEK_END);
    raw_len = ftell(f);
    rewind(f);
    raw = calloc(1, raw_len + 1);
    if (fread(raw, 1, raw_len, f) != (size_t)raw_len) die(path);
    fclose(f);
    own = strstr(raw, "@@@@@@@@");
}

static Conn *dial(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (void *)&target, sizeof target)) die("connect");
    return watch(fd);
}

static void ask(Conn *c, double due) {
    c->need = -1;
    c->got = 0;
    c->due = due;
    if (own) {
        static unsigned number;
        char text[9];
        snprintf(text, sizeof text, "%08x", ++number);
        memcpy(own, text, 8);
    }
    give(c, raw, raw_len);
}

/* Wake the poller at a time, to the microsecond. */
static void wake_at(double at) {
    if (alarm_fd < 0) {
        alarm_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
        struct epoll_event e = {.events = EPOLLIN, .data.fd = alarm_fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, alarm_fd, &e);
    }
    struct itimerspec when = {.it_value = {(time_t)at, (long)((at - (time_t)at) * 1e9) | 1}};
    timerfd_settime(alarm_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* The connection of an event; NULL where it was the alarm, which is silenced: else it would wake the poller for ever. */
static Conn *woken(int fd) {
    uint64_t times;
    if (fd == alarm_fd && read(fd, &times, sizeof times) < 0 && errno != EAGAIN) die("alarm");
    return conns[fd];
}

static int order(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void quantiles(const char *name, double *v, long n) {
    qsort(v, n, sizeof *v, order);
    double p50 = n ? v[n / 2] : 0, p99 = n ? v[(long)(n * 0.99)] : 0;
    printf("\"%s_p50_ms\":%.4f,\"%s_p99_ms\":%.4f,", name, p50 * 1e3, name, p99 * 1e3);
}

/* RATE 0: closed loop. One line of p99 a second as well, so that recovery can be seen. */
static void load(double seconds, int wanted, double rate) {
    int made = 0;
    Conn **idle = calloc(wanted, sizeof *idle);
    int free_count = 0;
    for (; made < wanted; made++) idle[free_count++] = dial();
    long most = 4000000, done = 0, good = 0, refused = 0, lost = 0, due_count = 0, at_second[64] = {0};
    double *took = malloc(most * sizeof *took), began = now_s(), until = began + seconds;
    static char buffer[1 << 18];
    struct epoll_event got[512];
    if (rate == 0)
        while (free_count) ask(idle[--free_count], now_s());
    for (;;) {
        double now = now_s();
        if (now >= until && (rate == 0 || free_count == wanted - lost || now > until + 5)) break;
        if (rate > 0) {
            while (now < until && began + due_count / rate <= now) {
                double due = began + due_count++ / rate;
                if (free_count) ask(idle[--free_count], due);
                else refused++;
            }
        }
        if (rate > 0 && now < until) wake_at(began + due_count / rate);
        int n = epoll_wait(poller, got, 512, 10);
        for (int i = 0; i < n; i++) {
            Conn *c = woken(got[i].data.fd);
            if (!c) continue;
            if (got[i].events & EPOLLOUT) flush(c);
            long part;
            int is_done = 0;
            while ((part = take(c, buffer, sizeof buffer)) > 0) {
                is_done = count(c, buffer, part);
                if (is_done || part < (long)sizeof buffer) break;
            }
            if (part < 0) {
                lost++;
                drop(c);
                continue;
            }
            if (!is_done) continue;
            double end = now_s();
            if (done < most) took[done] = end - c->due;
            done++;
            if (end - began < 63) at_second[(int)(end - began)]++;
            good += !strncmp(c->head + 9, "200", 3);
            if (rate > 0) idle[free_count++] = c;
            else if (end < until) ask(c, end);
        }
    }
    double elapsed = now_s() - began;
    printf("{\"requests\":%ld,\"ok\":%ld,\"no_connection_free\":%ld,\"lost\":%ld,\"seconds\":%.4f,\"p99_ms_by_second\":[", done, good, refused, lost, elapsed);
    long at = 0;
    for (int s = 0; s < 63 && at < done && at < most; s++) {
        long n = at_second[s];
        if (at + n > most) n = most - at;
        if (n > 0) qsort(took + at, n, sizeof *took, order);
        printf("%s%.3f", s ? "," : "", n > 0 ? took[at + (long)(n * 0.99)] * 1e3 : -1.0);
        at += n;
    }
    printf("],");
    quantiles("latency", took, done < most ? done : most);
    printf("\"requests_per_s\":%.1f}\n", done / elapsed);
}

typedef struct { double due, first; long tokens; int ended; } Stream;

static void streams(int wanted, double spread) {
    const char *mark = strstr(raw, "/chat/") ? "\"content\":\"" : "\"text\":\"";
    Stream *all = calloc(MAX_FD, sizeof *all);
    double *delays = malloc(4000000 * sizeof *delays), *firsts = malloc(wanted * sizeof *firsts);
    long tokens = 0, begun = 0, ended = 0, whole_count = 0, first_count = 0;
    static char buffer[1 << 18];
    struct epoll_event got[512];
    double began = now_s();
    while (ended < wanted && now_s() - began < 60) {
        while (begun < wanted && began + spread * begun / wanted <= now_s()) {
            double due = now_s(); /* from the first packet of a new connection on */
            Conn *c = dial();
            all[c->fd].due = due;
            begun++;
            ask(c, due);
        }
        if (begun < wanted) wake_at(began + spread * begun / wanted);
        int n = epoll_wait(poller, got, 512, 10);
        for (int i = 0; i < n; i++) {
            Conn *c = woken(got[i].data.fd);
            if (!c) continue;
            Stream *s = &all[c->fd];
            long part;
            while ((part = take(c, buffer, sizeof buffer - 1)) > 0) {
                double now = now_s();
                buffer[part] = 0;
                for (char *at = buffer; (at = strstr(at, mark)); ) {
                    at = strchr(at, ':') + 2;
                    if (*at < '0' || *at > '9') continue;
                    if (!s->tokens++) { s->first = now; firsts[first_count++] = now - s->due; }
                    delays[tokens++] = now - atof(at);
                }
                if (strstr(buffer, "message_stop") || strstr(buffer, "[DONE]")) { whole_count++; s->ended = 1; }
                if (part < (long)sizeof buffer - 1) break;
            }
            if (s->ended || part < 0) { ended++; drop(c); }
        }
    }
    printf("{\"streams\":%d,\"whole\":%ld,\"tokens\":%ld,", wanted, whole_count, tokens);
    quantiles("ttft", firsts, first_count);
    quantiles("relay", delays, tokens);
    printf("\"seconds\":%.3f}\n", now_s() - began);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(0);
    if (argc >= 2 && !strcmp(argv[1], "mock")) mock(argc > 2 ? argv[2] : NULL);
    if (argc < 6) { fprintf(stderr, "see the top of the source\n"); return 2; }
    read_request(argv[2], argv[3]);
    if (!strcmp(argv[1], "closed")) load(atof(argv[4]), atoi(argv[5]), 0);
    else if (!strcmp(argv[1], "open") && argc > 6) load(atof(argv[4]), atoi(argv[5]), atof(argv[6]));
    else if (!strcmp(argv[1], "streams")) streams(atoi(argv[4]), atof(argv[5]));
    return 0;
}
