/* fakeup: a fast single-threaded fake OpenAI-compatible upstream (Linux, epoll).
 *
 *   cc -O2 -o fakeup fakeup.c && ./fakeup 9100
 *
 * POST anything        -> a chat completion; an SSE stream when the body has "stream":true
 * GET  /v1/models      -> a model list
 * GET  /__stats        -> {"requests":..,"streams":..,"connections":..,"body_bytes":..}
 * GET  anything else   -> {"status":"ok"}
 *
 * How it answers is set by a tag anywhere in the body (put it in the first
 * message, so that it passes every gateway untouched):
 *   [[n=200,d=10,t=0,b=1,e=0,u=1,k=600]]
 *     n  content chunks in a stream               (default env FAKE_N or 20)
 *     d  milliseconds between chunks              (default env FAKE_D or 0)
 *     t  milliseconds before the answer starts    (default 0)
 *     b  events per write when d=0                (default 1)
 *     e  answer with this HTTP status and an error body (default 0: none)
 *     u  1: send a usage chunk before [DONE]      (default 1)
 *     k  bytes of filler in a non-stream answer   (default 600)
 * Each stream chunk's content is "@" and 19 digits: the upstream's
 * CLOCK_MONOTONIC in ns when it was written, so that a client on the same
 * host can tell how long the gateway held it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 8192
enum { S_READ, S_WAIT, S_STREAM };

typedef struct conn {
    int fd, state, close_after, want_out, got_head, chunked, sent100;
    char *in; size_t in_len, in_cap;      /* raw input */
    size_t head_len, clen, cpos;          /* header size, content length, chunk scan position */
    char *body; size_t body_len, body_cap;/* decoded body of a chunked request */
    char method[8], path[256];
    int n, d, t, b, e, u, k, stream, sent;
    char *out; size_t out_len, out_pos, out_cap;
    struct conn *tn, *tp; int slot;       /* timer wheel links */
    uint64_t due;
} conn;

static int ep, def_n = 20, def_d = 0;
static conn *wheel[SLOTS];
static int timers;
static uint64_t wheel_ms;
static uint64_t st_req, st_str, st_conn, st_body;

static uint64_t now_ns(void) {
    struct timespec ts; clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + ts.tv_nsec;
}
static void t_del(conn *c) {
    if (c->slot < 0) return;
    if (c->tp) c->tp->tn = c->tn; else wheel[c->slot] = c->tn;
    if (c->tn) c->tn->tp = c->tp;
    c->slot = -1; c->tn = c->tp = NULL; timers--;
}
static void t_add(conn *c, uint64_t due) {
    if (!timers) { uint64_t n = now_ns() / 1000000; if (n > wheel_ms) wheel_ms = n; }
    if (due <= wheel_ms) due = wheel_ms + 1;
    c->due = due; c->slot = due % SLOTS; c->tp = NULL; c->tn = wheel[c->slot];
    if (c->tn) c->tn->tp = c;
    wheel[c->slot] = c; timers++;
}
static void ev_set(conn *c, int want_out) {
    if (c->want_out == want_out) return;
    c->want_out = want_out;
    struct epoll_event e = {.events = EPOLLIN | (want_out ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}
static void c_free(conn *c) {
    t_del(c); close(c->fd); free(c->in); free(c->body); free(c->out); free(c);
}
/* returns 0 ok (all sent or queued), -1 connection dead */
static int put(conn *c, const char *p, size_t n) {
    if (c->out_pos == c->out_len) {
        c->out_pos = c->out_len = 0;
        while (n) {
            ssize_t r = send(c->fd, p, n, MSG_NOSIGNAL);
            if (r < 0) { if (errno == EAGAIN) break; if (errno == EINTR) continue; return -1; }
            p += r; n -= r;
        }
        if (!n) return 0;
    }
    if (c->out_len + n > c->out_cap) {
        c->out_cap = (c->out_len + n) * 2; c->out = realloc(c->out, c->out_cap);
    }
    memcpy(c->out + c->out_len, p, n); c->out_len += n;
    ev_set(c, 1);
    return 0;
}
static const char SHEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    "Cache-Control: no-cache\r\nX-Request-Id: req_fake\r\nTransfer-Encoding: chunked\r\n\r\n";
static char EV[600]; static size_t EVL, EVTS;
static char FIN[2400]; static size_t FINL; static char FIN0[2400]; static size_t FIN0L;

static size_t frame(char *o, const char *payload) {
    return sprintf(o, "%zx\r\n%s\r\n", strlen(payload), payload);
}
static void prerender(void) {
    const char *pre = "{\"id\":\"chatcmpl-fake000000000000000000000001\",\"object\":\"chat.completion.chunk\","
        "\"created\":1700000000,\"model\":\"fake-model\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_fake\",";
    char b[1200];
    sprintf(b, "data: %s\"choices\":[{\"index\":0,\"delta\":{\"content\":\"@0000000000000000000\"},"
        "\"logprobs\":null,\"finish_reason\":null}]}\n\n", pre);
    EVL = frame(EV, b); EVTS = (strchr(EV, '@') - EV) + 1;
    char fin[1200], us[1200];
    sprintf(fin, "data: %s\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n", pre);
    sprintf(us, "data: %s\"choices\":[],\"usage\":{\"prompt_tokens\":200,\"completion_tokens\":200,\"total_tokens\":400,"
        "\"prompt_tokens_details\":{\"cached_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0}}}\n\n", pre);
    FINL = frame(FIN, fin); FINL += frame(FIN + FINL, us); FINL += frame(FIN + FINL, "data: [DONE]\n\n");
    FINL += sprintf(FIN + FINL, "0\r\n\r\n");
    FIN0L = frame(FIN0, fin); FIN0L += frame(FIN0 + FIN0L, "data: [DONE]\n\n");
    FIN0L += sprintf(FIN0 + FIN0L, "0\r\n\r\n");
}
static void stamp(char *p, uint64_t v) { for (int i = 18; i >= 0; i--) { p[i] = '0' + v % 10; v /= 10; } }

static int feed(conn *c);
static int finish(conn *c) {   /* an answer is complete: drop the request, take the next */
    size_t used = c->head_len + (c->chunked ? c->cpos : c->clen);
    if (used > c->in_len) used = c->in_len;
    memmove(c->in, c->in + used, c->in_len - used); c->in_len -= used;
    if (c->in_cap > (1 << 20) && c->in_len == 0) { free(c->in); c->in = NULL; c->in_cap = 0; }
    c->got_head = 0; c->state = S_READ; c->body_len = 0; c->cpos = 0; c->sent100 = 0;
    if (c->close_after && c->out_pos == c->out_len) return -1;
    return c->in_len ? feed(c) : 0;
}
static int step(conn *c) {     /* stream: write what is due */
    char tmp[64 * 600];
    while (c->sent < c->n) {
        if (c->out_pos != c->out_len) return 0;          /* wait for EPOLLOUT */
        int k = c->d ? 1 : c->b; if (k > 64) k = 64; if (k > c->n - c->sent) k = c->n - c->sent;
        uint64_t t = now_ns(); size_t l = 0;
        for (int i = 0; i < k; i++) { memcpy(tmp + l, EV, EVL); stamp(tmp + l + EVTS, t); l += EVL; }
        if (put(c, tmp, l)) return -1;
        c->sent += k;
        if (c->d) { t_add(c, (c->due > wheel_ms ? c->due : now_ns() / 1000000) + c->d); return 0; }
    }
    if (put(c, c->u ? FIN : FIN0, c->u ? FINL : FIN0L)) return -1;
    return finish(c);
}
static int simple(conn *c, int status, const char *json, size_t n) {
    char h[512];
    int l = snprintf(h, sizeof h, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nX-Request-Id: req_fake\r\n%s"
        "Content-Length: %zu\r\n\r\n", status, status == 200 ? "OK" : "Error", status == 429 ? "Retry-After: 1\r\n" : "", n);
    char *o = malloc(l + n); memcpy(o, h, l); memcpy(o + l, json, n);
    int r = put(c, o, l + n); free(o);
    return r ? -1 : finish(c);
}
static int answer(conn *c) {
    if (c->e) {
        char b[256]; int n = snprintf(b, sizeof b, "{\"error\":{\"message\":\"fake error %d\",\"type\":\"fake_error\",\"param\":null,\"code\":\"fake_%d\"}}", c->e, c->e);
        return simple(c, c->e, b, n);
    }
    if (c->stream) {
        st_str++; c->state = S_STREAM; c->sent = 0; c->due = 0;
        if (put(c, SHEAD, sizeof SHEAD - 1)) return -1;
        return step(c);
    }
    int k = c->k < 0 ? 0 : c->k > 4000000 ? 4000000 : c->k;
    char *b = malloc(k + 1024);
    int n = sprintf(b, "{\"id\":\"chatcmpl-fake000000000000000000000001\",\"object\":\"chat.completion\",\"created\":1700000000,"
        "\"model\":\"fake-model\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"");
    for (int i = 0; i < k; i++) b[n++] = (i % 7 == 6) ? ' ' : 'a' + (i * 11) % 26;
    n += sprintf(b + n, "\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":200,"
        "\"completion_tokens\":120,\"total_tokens\":320,\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},"
        "\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0}},\"service_tier\":\"default\",\"system_fingerprint\":\"fp_fake\"}");
    int r = simple(c, 200, b, n); free(b); return r;
}
static int dispatch(conn *c, const char *body, size_t n) {
    c->state = S_WAIT; st_req++; st_body += n;
    if (!strcmp(c->method, "GET") || !strcmp(c->method, "HEAD")) {
        char b[512]; int l;
        if (strstr(c->path, "/__stats"))
            l = snprintf(b, sizeof b, "{\"requests\":%llu,\"streams\":%llu,\"connections\":%llu,\"body_bytes\":%llu}",
                (unsigned long long)st_req, (unsigned long long)st_str, (unsigned long long)st_conn, (unsigned long long)st_body);
        else if (strstr(c->path, "/models"))
            l = snprintf(b, sizeof b, "{\"object\":\"list\",\"data\":[{\"id\":\"fake-model\",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"fake\"}]}");
        else l = snprintf(b, sizeof b, "{\"status\":\"ok\",\"model_path\":\"fake-model\"}");
        return simple(c, 200, b, l);
    }
    c->n = def_n; c->d = def_d; c->t = 0; c->b = 1; c->e = 0; c->u = 1; c->k = 600; c->stream = 0;
    const char *s = body, *end = body + n;
    while ((s = memmem(s, end - s, "\"stream\"", 8))) {
        s += 8; const char *q = s;
        while (q < end && (*q == ' ' || *q == '\n')) q++;
        if (q < end && *q == ':') { q++; while (q < end && (*q == ' ' || *q == '\n')) q++;
            c->stream = end - q >= 4 && !memcmp(q, "true", 4);
            break;
        }
    }
    s = memmem(body, n, "[[n=", 4);
    if (s) for (s += 2; s + 2 < end && s[1] == '=';) {
        char key = *s; long v = 0; s += 2;
        while (s < end && *s >= '0' && *s <= '9') v = v * 10 + (*s++ - '0');
        switch (key) { case 'n': c->n = v; break; case 'd': c->d = v; break; case 't': c->t = v; break;
            case 'b': c->b = v ? v : 1; break; case 'e': c->e = v; break; case 'u': c->u = v; break; case 'k': c->k = v; break; }
        if (s >= end || *s != ',') break;
        s++;
    }
    if (c->t) { t_add(c, now_ns() / 1000000 + c->t); return 0; }
    return answer(c);
}
static int feed(conn *c) {
    if (c->state != S_READ) return 0;
    if (!c->got_head) {
        char *e = memmem(c->in, c->in_len, "\r\n\r\n", 4);
        if (!e) return c->in_len > 65536 ? -1 : 0;
        c->head_len = e - c->in + 4; c->got_head = 1; c->clen = 0; c->chunked = 0; c->close_after = 0; c->cpos = 0; c->body_len = 0;
        sscanf(c->in, "%7s %255s", c->method, c->path);
        int expect = 0;
        for (char *p = strchr(c->in, '\n'); p && p + 1 < e; p = memchr(p, '\n', e + 2 - p)) {
            p++;
            if (!strncasecmp(p, "content-length:", 15)) c->clen = strtoull(p + 15, NULL, 10);
            else if (!strncasecmp(p, "transfer-encoding:", 18)) c->chunked = 1;
            else if (!strncasecmp(p, "connection:", 11)) { char *q = p + 11; while (*q == ' ') q++; c->close_after = !strncasecmp(q, "close", 5); }
            else if (!strncasecmp(p, "expect:", 7)) expect = 1;
        }
        if (expect && put(c, "HTTP/1.1 100 Continue\r\n\r\n", 25)) return -1;
        if (c->head_len + c->clen + 1 > c->in_cap) { c->in_cap = c->head_len + c->clen + 4096; c->in = realloc(c->in, c->in_cap); }
    }
    if (!c->chunked) {
        if (c->in_len < c->head_len + c->clen) return 0;
        return dispatch(c, c->in + c->head_len, c->clen);
    }
    for (;;) {
        char *p = c->in + c->head_len + c->cpos, *end = c->in + c->in_len;
        char *nl = memchr(p, '\n', end - p);
        if (!nl) return 0;
        size_t sz = strtoull(p, NULL, 16);
        if ((size_t)(end - nl - 1) < sz + 2) return 0;
        if (!sz) { c->cpos = (nl + 3) - (c->in + c->head_len); return dispatch(c, c->body ? c->body : "", c->body_len); }
        if (c->body_len + sz > c->body_cap) { c->body_cap = (c->body_len + sz) * 2; c->body = realloc(c->body, c->body_cap); }
        memcpy(c->body + c->body_len, nl + 1, sz); c->body_len += sz;
        c->cpos = (nl + 1 + sz + 2) - (c->in + c->head_len);
    }
}
static int on_read(conn *c) {
    for (;;) {
        if (c->in_cap - c->in_len < 8192) { c->in_cap = c->in_cap ? c->in_cap * 2 : 16384; c->in = realloc(c->in, c->in_cap); }
        size_t room = c->in_cap - c->in_len - 1;
        ssize_t r = recv(c->fd, c->in + c->in_len, room, 0);
        if (r == 0) return -1;
        if (r < 0) { if (errno == EAGAIN) return 0; if (errno == EINTR) continue; return -1; }
        c->in_len += r; c->in[c->in_len] = 0;
        if (feed(c)) return -1;
        if ((size_t)r < room) return 0;
    }
}
int main(int argc, char **argv) {
    int port = argc > 1 ? atoi(argv[1]) : 9100;
    if (getenv("FAKE_N")) def_n = atoi(getenv("FAKE_N"));
    if (getenv("FAKE_D")) def_d = atoi(getenv("FAKE_D"));
    signal(SIGPIPE, SIG_IGN); prerender();
    int ls = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(ls, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(ls, (void *)&a, sizeof a) || listen(ls, 4096)) { perror("bind"); return 1; }
    ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}; epoll_ctl(ep, EPOLL_CTL_ADD, ls, &e);
    static struct epoll_event evs[512];
    wheel_ms = now_ns() / 1000000;
    fprintf(stderr, "fakeup on 127.0.0.1:%d\n", port);
    for (;;) {
        int n = epoll_wait(ep, evs, 512, timers ? 1 : -1);
        for (int i = 0; i < n; i++) {
            conn *c = evs[i].data.ptr;
            if (!c) {
                int fd;
                while ((fd = accept4(ls, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    c = calloc(1, sizeof *c); c->fd = fd; c->slot = -1; st_conn++;
                    struct epoll_event ne = {.events = EPOLLIN, .data.ptr = c}; epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ne);
                }
                continue;
            }
            int dead = 0;
            if (evs[i].events & EPOLLOUT) {
                while (c->out_pos < c->out_len) {
                    ssize_t r = send(c->fd, c->out + c->out_pos, c->out_len - c->out_pos, MSG_NOSIGNAL);
                    if (r < 0) { if (errno == EINTR) continue; if (errno != EAGAIN) dead = 1; break; }
                    c->out_pos += r;
                }
                if (!dead && c->out_pos == c->out_len) {
                    ev_set(c, 0);
                    if (c->state == S_STREAM && c->slot < 0) dead = step(c) != 0;
                }
            }
            if (!dead && evs[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) dead = on_read(c) != 0;
            if (dead) c_free(c);
        }
        if (timers) {
            uint64_t now = now_ns() / 1000000;
            while (wheel_ms < now) {
                wheel_ms++;
                conn *c = wheel[wheel_ms % SLOTS], *nx;
                for (; c; c = nx) {
                    nx = c->tn;
                    if (c->due > wheel_ms) continue;
                    t_del(c);
                    int dead = c->state == S_WAIT ? answer(c) : step(c);
                    if (dead) c_free(c);
                }
                if (!timers) { wheel_ms = now; break; }
            }
        }
    }
}
