/*
 * An origin in memory, for the proxy's tests and simulator: a table of objects with scripted faults, whose
 * time is the loop's, so that it runs under the fake driver as well (libcurl opens real sockets and reads
 * real time).
 *
 * It honours Range, If-Match and If-None-Match as S3 does, delivers bodies in pieces with back-pressure, and
 * does what a script says otherwise. It neither retries nor resumes: what a script breaks is what the fetch
 * reports. One thread at a time: the loop's, or the test's between turns.
 */
#pragma once

#include "origin/origin.h"

#define FAKE_NEVER UINT64_MAX

struct fake_options {
    uint64_t latency_ns;  /* from start to the head */
    uint64_t interval_ns; /* between pieces */
    size_t piece_bytes;   /* 0: 64 KiB */
};

/* How a fetch of an object goes; all zero is: well. */
struct fake_script {
    int error; /* the fetch ends with it, instead of the head or once break_after bytes were delivered */
    bool after_head;      /* the head comes first */
    uint64_t break_after; /* with after_head: bytes of the body delivered before the end */
    unsigned status;      /* with error: fetch->status, 0: what the error means */
    unsigned retry_after_s;
    unsigned fetches;  /* how many fetches go so before it is well again; 0: all */
    bool hang;         /* nothing comes (after the head, with after_head), until a cancel */
    bool ignore_range; /* 200 and the whole for a range */
    bool ignore_if_match;
    bool no_length; /* content_length UINT64_MAX */
};

/* An origin of that name; identity is "fake" and the bucket. */
MUST_CHECK int origin_create_fake(
    struct origin **origin, const char *bucket, const struct fake_options *options);

/* Sets an object: key and etag (with its quotes, or "" for none) are copied; the bytes stay the test's and
 * must stay valid while they can be fetched. extra: more field lines "Name: value\r\n...", or NULL. */
void fake_put(
    struct origin *origin, const char *key, struct bytes content, const char *etag, const char *extra);
/* An object of len bytes whose byte at i is fake_byte(seed, i): of any size without memory. */
void fake_put_pattern(
    struct origin *origin, const char *key, uint64_t len, uint64_t seed, const char *etag, const char *extra);
uint8_t fake_byte(uint64_t seed, uint64_t at);
void fake_remove(struct origin *origin, const char *key);
void fake_script(struct origin *origin, const char *key, const struct fake_script *script);

struct fake_counts {
    uint64_t fetches, heads, bytes, not_modified;
    unsigned running, running_max;
};
/* Of a key, or of all with NULL. Keys that are not there count under all only. */
struct fake_counts fake_counts(const struct origin *origin, const char *key);
