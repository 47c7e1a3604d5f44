/*
 * The conformance suite of io/io.h: one set of tests that runs over every driver.
 *
 * A `struct rig` is an io with one loop. Every op of a test is a `struct probe`: its start is counted, its
 * final callback is counted, and rig_close() demands that the two agree, that no callback ran inside a
 * submitting call, and that nothing was left open. A test that leaks or loses a callback therefore fails by
 * itself.
 *
 * The driver is argv[1] or the environment variable YATA_IO_DRIVER. YATA_SEED moves the seeds of the fake.
 */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after those, as it demands */
#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "io/io.h"

struct rig {
    struct io *io;
    struct io_loop *loop;
    unsigned started, finished;
    bool turning;
    bool fake;
};

struct probe {
    struct io_op op;
    struct rig *rig;
    unsigned done, accepted;
    int64_t result, accepted_result;
    unsigned order; /* the how-manieth final callback of the rig */
    void (*then)(struct probe *probe);
    void *user;
};

/* The driver under test. */
enum io_choice conformance_driver(void);
const char *conformance_driver_name(void);
bool conformance_is_fake(void);
/* A path for a file of this process; under the fake a name. The file is removed at exit. Valid until the
 * next. */
const char *conformance_path(const char *name);

void rig_open(struct rig *rig);
void rig_open_with(struct rig *rig, struct io_config config);
/* Ends loop and io and checks that nothing leaked and no callback was lost. */
void rig_close(struct rig *rig);
/* One turn with a bounded wait. */
unsigned rig_turn(struct rig *rig);
/* Turns for about so long in the loop's time; whatever is due runs. */
void rig_idle(struct rig *rig, uint64_t ns);

/* Zeroes and counts it; the caller submits &probe->op next. */
struct io_op *probe_start(struct rig *rig, struct probe *probe);
struct io_op *probe_start_then(
    struct rig *rig, struct probe *probe, void (*then)(struct probe *), void *user);
/* Turns until its final callback (fails after 120 s); returns its result. */
int64_t probe_wait(struct probe *probe);

/* Connected streams over loopback. */
struct io_handle listen_here(struct rig *rig, struct io_address *address);
/* An address where somebody listened and nobody does; it stays bound, so that no other process can. Returns
 * the descriptor to close, or -1 (fake). */
int refuse_here(struct rig *rig, struct io_address *address);
void pair_open(struct rig *rig, struct io_handle *client, struct io_handle *server);
void socket_close(struct rig *rig, struct io_handle socket);
/* Whole; returns the first error. */
int64_t send_whole(struct rig *rig, struct io_handle socket, const void *data, size_t len);
/* Whole, or what came until the end of stream or an error. Returns the bytes, or the error when none came. */
int64_t recv_whole(struct rig *rig, struct io_handle socket, void *data, size_t len);

/* Opens or fails the test. */
struct io_handle file_open(struct rig *rig, const char *path, unsigned flags);
int64_t file_open_result(struct rig *rig, const char *path, unsigned flags);
void file_close(struct rig *rig, struct io_handle file);
int64_t file_read(struct rig *rig, struct io_handle file, void *data, size_t len, uint64_t offset);
int64_t file_write(struct rig *rig, struct io_handle file, const void *data, size_t len, uint64_t offset);

/* How many descriptors this process has open. */
unsigned descriptors_open(void);
/* Whether a destroyed io leaves none open (under TSan rings stay). */
bool descriptors_return(void);

/* Bytes that tell their position and the seed. */
void pattern_fill(void *data, size_t len, uint64_t seed);

/* The groups: name of the file tells what each covers. */
int run_sockets(void);
int run_streams(void);
int run_files(void);
int run_places(void);
int run_timers(void);
int run_cancel(void);
int run_pools(void);
int run_polls(void);
int run_threads(void);
int run_shutdown(void);

/* Programs of their own, started by the suite as `test_conformance <driver> <name> [argument]`. */
int child_lock(const char *path);
int child_stall(void);
/* Runs one; returns its exit status. */
int child_run(const char *name, const char *argument);
