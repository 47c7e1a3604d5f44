/*
 * The whole request path on one seed: two workers, memory and disk tier, an origin that fails and whose
 * objects change, clients that abort, dawdle, pipeline and ask for all that HTTP knows, over the fake driver,
 * whose clock, network, disk and order come from the seed. A failing seed is the bug report:
 *
 *   test_simulator SEED [COUNT]       test_simulator SEED trace       test_simulator SEED twice
 *
 * A run is one or more *lives* of the proxy over one disk; between them it is drained, stopped hard, killed,
 * or the machine loses power, and settings change.
 *
 * What is held (simulator_judge.c): every byte is the byte of the version that the entity tag names, at its
 * offset; that version is not older than its time to live allows; status, ranges and preconditions are what
 * RFC 9110 says; an answer is whole unless origin, object or process gave cause; nothing takes longer than
 * the deadlines allow; a byte of an undisturbed object is fetched once; at the end nothing is left.
 *
 *   simulator_plan.c     what the seed decides: settings, tiers, faults
 *   simulator_object.c   objects, their versions, their faults
 *   simulator_world.c    a life, from boot to its end
 *   simulator_client.c   connections
 *   simulator_ask.c      requests
 *   simulator_judge.c    answers
 */
#pragma once

#include "base/random.h"
#include "http/server.h"
#include "io/fake.h"
#include "origin/fake.h"
#include "proxy/proxy.h"
#include "proxy/worker.h"

#define WORKERS 2
#define CLIENTS 12
#define OBJECTS 14
#define VERSIONS 64
#define PIPELINE 4
#define PORT 8080
#define HEAD_MAX 8192
#define BODY_KEPT (512u << 10)
#define REQUEST_BYTES 700
#define RANGES 4
#define DEADLINE_NS (20 * NS_PER_S)

struct world;

/* ---- plan ---- */

enum ending { END_DRAIN, END_STOP, END_KILL, END_POWER };

struct plan {
    bool calm;   /* no faults, no changes, memory for all: bytes are counted */
    bool cached; /* the bucket's cache is on */
    bool memory, disk;
    bool disk_faults;
    bool memory_is_small;
    uint64_t memory_bytes, disk_bytes, memory_item_bytes, max_item_bytes;
    uint32_t chunk_bytes;
    unsigned ttl_s, stale_s, missing_s, max_concurrent, requests, lives, clients;
    struct fake_options origin;
    struct fake_network network;
    enum ending ending;
};

void plan_draw(struct plan *plan, struct random *random);
/* For the next life over the same disk. */
void plan_change(struct plan *plan, struct random *random);

/* ---- objects ---- */

enum object_kind { OBJECT_PLAIN, OBJECT_WEAK, OBJECT_UNTAGGED, OBJECT_NO_STORE, OBJECT_NO_CACHE };

struct object {
    char key[16];
    enum object_kind kind;
    uint64_t lens[VERSIONS], seeds[VERSIONS], replaced_ns[VERSIONS]; /* wall time; 0: it is current */
    char etags[VERSIONS][24];
    unsigned max_age_s[VERSIONS]; /* UINT32_MAX: none said */
    unsigned versions;
    uint64_t faulty_until_ns; /* wall time; UINT64_MAX: while this life lasts */
    uint64_t changed_ns;
};

void objects_make(struct world *world);
/* Into the origin of this life. */
void objects_put(struct world *world);
void objects_disturb(struct world *world);
/* Seconds since 1970 of the version's Last-Modified. */
int64_t object_modified_s(unsigned version);
int object_version(const struct object *object, struct bytes etag); /* -1: none */
unsigned object_current(const struct object *object);

/* ---- clients ---- */

/* What was asked, to judge the answer by. */
struct ask {
    struct object *object;
    bool head;
    unsigned range_count;
    struct ask_range {
        enum { RANGE_OF_BOTH, RANGE_OF_FIRST, RANGE_OF_SUFFIX } kind;
        uint64_t first, last; /* of a suffix: `last` bytes */
    } ranges[RANGES];
    char if_match[80], if_none_match[80], if_range[80];
    int64_t modified_since_s, unmodified_since_s; /* 0: not asked */
    unsigned versions_at_start;
    uint64_t asked_ns; /* wall time */
    char text[REQUEST_BYTES];
    size_t text_len;
};

void ask_draw(struct world *world, struct ask *ask);

struct answer {
    uint8_t head[HEAD_MAX];
    size_t head_len;
    unsigned status;
    int version;
    uint64_t length, at, left; /* of the body; `at` in the object */
    bool in_body, multipart, closes, has_length;
    bool chunked, chunk_ends, last_chunk, over; /* chunk_ends: an empty line is due */
    char line[24];                              /* what has come of the one between two chunks */
    size_t line_len;
    uint8_t kept[BODY_KEPT];
    size_t kept_len;
};

struct client {
    struct world *world;
    unsigned number;
    struct io_op op, timer, closing;
    struct io_handle socket;
    struct iovec iov;
    char text[PIPELINE * REQUEST_BYTES];
    struct ask asks[PIPELINE];
    unsigned ask_count, ask_sent, ask_at;
    struct answer answer;
    uint64_t abort_at, bytes, progress_ns;
    unsigned dawdle_one_in;
    uint64_t dawdle_ns;
    bool pipelines, running;
};

struct bytes answer_field(const struct answer *answer, const char *name);
/* The next connection, or rest. */
void client_next(struct client *client);

/* ---- judging ---- */

void judge_head(struct client *client);
void judge_body(struct client *client, struct bytes bytes);
void judge_whole(struct client *client);
/* The connection ended in the middle of an answer, or without one. */
void judge_cut(struct client *client);
_Noreturn void judge_fail(struct client *client, const char *what);

/* ---- the world ---- */

struct worker {
    struct io_loop *loop;
    struct proxy_worker *proxy;
    struct http_server *server;
    bool drained, stopped, left;
};

struct tally {
    uint64_t whole, cut, aborted, errors, hits, partial, not_modified, failed_conditions, ranges, multipart,
        unsatisfiable, disk_hits, timeouts, chunked;
};

struct world {
    struct random random;
    uint64_t seed, digest, wall_ns; /* wall_ns: at which this life began */
    bool tracing, dying, draining;
    struct plan plan;
    struct io *io;
    struct fake_disk *disk_between;
    struct io_loop *client_loop, *home;
    struct io_handle listener;
    struct io_address address;
    struct memory *memory;
    struct disk *disk;
    struct cache *cache;
    struct settings settings;
    struct bucket_settings bucket;
    struct proxy *proxy;
    struct origin *origin;
    struct worker workers[WORKERS];
    struct client clients[CLIENTS];
    struct object objects[OBJECTS];
    unsigned begun, running, life;
    struct tally tally;
};

static inline uint64_t below(struct world *world, uint64_t bound)
{
    return random_below(&world->random, bound);
}

uint64_t world_now_ns(const struct world *world); /* wall */
void world_live(struct world *world);
/* Between the turns: faults of the disk. */
void world_disturb_disk(struct world *world);
/* A line of the trace; also what two runs of a seed are compared by. */
__attribute__((format(printf, 2, 3))) void world_trace(struct world *world, const char *format, ...);
