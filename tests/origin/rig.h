/*
 * What the origin's tests share: a loop with a client, a fetch that remembers all that it was told, and the
 * faulty origin (tests/e2e/faulty_origin.py) as a child process. Driver by YATA_IO ("portable" or "uring"),
 * else portable.
 */
#pragma once

#include "base/log.h"
#include "origin/origin.h"

struct rig {
    struct io *io;
    struct io_loop *loop;
    struct origin_client *client;
    struct log *log;
    bool stopped;
};

void rig_init(struct rig *rig);
/* Stops the client, destroys all, and fails the test on anything left over. */
void rig_deinit(struct rig *rig);
/* All that was logged since the last call, NUL-terminated; static. */
const char *rig_log(struct rig *rig);

/* A fetch and what it was told. Zero it, set request and the knobs, start. */
struct caught {
    struct origin_fetch fetch;
    struct rig *rig;
    size_t take_max;       /* bytes taken per call of body; 0: all */
    uint64_t pause_ns;     /* before it resumes */
    uint64_t cancel_after; /* cancels once so many bytes were taken; 0: not */
    bool cancel_at_head, drop_body;

    unsigned heads, dones;
    unsigned status;
    uint64_t content_length, first, last, total;
    char etag[256], last_modified[64];
    char fields[8192]; /* "Name: value\n"... */
    uint8_t *bytes;
    size_t len, capacity;
    bool paused;
    uint64_t resume_ns, done_ns;
};

void caught_start(struct caught *caught, struct rig *rig, struct origin *origin, const char *key);
/* Turns until it is done; fails the test after 60 s. */
void caught_wait(struct caught *caught);
void caught_run(struct caught *caught, struct rig *rig, struct origin *origin, const char *key);
void caught_free(struct caught *caught);
/* Turns the loop for so long. */
void rig_turn_for(struct rig *rig, uint64_t ns);

/* The pattern of faulty_origin.py. */
uint8_t rig_pattern(uint64_t at, unsigned seed);

struct child {
    int pid, in, out;
    unsigned port;
};
/* False when there is no python3 or no such address. cert and key: files in PEM for TLS, or NULL. */
bool child_start(struct child *child, const char *host, const char *cert, const char *key);
void child_stop(struct child *child);
/* GET of a control path, by a socket of its own; the body, static. */
const char *child_control(const struct child *child, const char *path);
/* A number out of its stats: of this key, this name. */
uint64_t child_count(const struct child *child, const char *key, const char *name);
