/*
 * A directory as origin: a key is a path below the folder, an object a regular file.
 *
 * A job is a chain of ops, one at a time: open the folder, open the file beneath it, stat, then (read, stat)
 * for each piece, close both. Each piece is handed on only when a stat *after* its read still shows the size,
 * mtime and inode that the entity tag was made of: a writer sets mtime before it changes bytes, so no byte of
 * a newer version goes out under an older tag (but for writes within one tick of the file system's clock). A
 * change ends the fetch with E_CHANGED.
 *
 * Disk ops can't be cancelled: a cancelled job tells its end at once and dies when its op has come back and
 * the handles are closed. The folder is opened per fetch; rejected: keeping it open, which would go on
 * serving a folder that was replaced (a deployment by rename).
 */
#include "origin/file.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "origin/answer.h"
#include "origin/backend.h"

#define PIECE_BYTES (size_t)(256 * 1024)
#define KEY_MAX 1024

struct file_job {
    struct job job;
    struct io_op op; /* one at a time */
    struct io_handle folder, file;
    struct io_file_info info, seen;
    struct iovec iov;
    uint64_t at, end;
    uint8_t *buffer;
    size_t filled, taken;
    bool paused;
    char path[KEY_MAX + 1];
    char etag[FILE_ETAG_MAX];
    size_t etag_len;
};

/* ---- pure ---- */

bool file_key_valid(struct bytes key)
{
    size_t part = 0;
    for (size_t i = 0; i <= key.len; i++) {
        if (i < key.len && key.ptr[i] == '\0')
            return false;
        if (i < key.len && key.ptr[i] != '/')
            continue;
        struct bytes name = bytes_of(key.ptr + part, i - part);
        if (name.len == 0 || name.len > 255 || bytes_equal(name, BYTES(".")) ||
            bytes_equal(name, BYTES("..")))
            return false;
        part = i + 1;
    }
    return key.len <= KEY_MAX;
}

struct bytes file_content_type(struct bytes key)
{
    static const char *const types[][2] = {
        {"html", "text/html; charset=utf-8"},
        {"htm", "text/html; charset=utf-8"},
        {"txt", "text/plain; charset=utf-8"},
        {"md", "text/markdown; charset=utf-8"},
        {"css", "text/css"},
        {"csv", "text/csv"},
        {"js", "text/javascript"},
        {"mjs", "text/javascript"},
        {"json", "application/json"},
        {"xml", "application/xml"},
        {"pdf", "application/pdf"},
        {"wasm", "application/wasm"},
        {"zip", "application/zip"},
        {"gz", "application/gzip"},
        {"tar", "application/x-tar"},
        {"parquet", "application/vnd.apache.parquet"},
        {"png", "image/png"},
        {"jpg", "image/jpeg"},
        {"jpeg", "image/jpeg"},
        {"gif", "image/gif"},
        {"webp", "image/webp"},
        {"avif", "image/avif"},
        {"svg", "image/svg+xml"},
        {"ico", "image/x-icon"},
        {"mp4", "video/mp4"},
        {"webm", "video/webm"},
        {"m3u8", "application/vnd.apple.mpegurl"},
        {"ts", "video/mp2t"},
        {"mp3", "audio/mpeg"},
        {"woff2", "font/woff2"},
        {"woff", "font/woff"},
        {"ttf", "font/ttf"},
    };
    size_t dot = key.len;
    while (dot > 0 && key.ptr[dot - 1] != '.' && key.ptr[dot - 1] != '/')
        dot--;
    struct bytes extension = bytes_from(key, dot);
    bool found = dot > 0 && key.ptr[dot - 1] == '.';
    for (size_t i = 0; found && i < sizeof types / sizeof types[0]; i++) {
        if (bytes_equal_nocase(extension, bytes_of_string(types[i][0])))
            return bytes_of_string(types[i][1]);
    }
    return BYTES("application/octet-stream");
}

void file_write_etag(uint64_t inode, uint64_t size_bytes, uint64_t mtime_ns, struct writer *w)
{
    write_format(w, "\"%llx-%llx-%llx\"", (unsigned long long)inode, (unsigned long long)size_bytes,
        (unsigned long long)mtime_ns);
}

/* ---- the end ---- */

static void folder_closed(struct io_op *op);
static void read_piece(struct file_job *fj);

/* With no op in flight. */
static void file_free(struct file_job *fj)
{
    CHECK(fj->job.fetch == NULL && !io_op_busy(&fj->op));
    struct io_loop *loop = fj->job.client->loop;
    struct io_handle *handle = io_handle_valid(fj->file) ? &fj->file : &fj->folder;
    if (io_handle_valid(*handle)) {
        struct io_handle closing = *handle;
        *handle = IO_HANDLE_NONE;
        io_op_init(&fj->op, folder_closed);
        io_file_close(loop, &fj->op, closing);
        return;
    }
    job_drop(&fj->job);
    free(fj->buffer);
    free(fj);
}

static void folder_closed(struct io_op *op)
{
    file_free(CONTAINER_OF(op, struct file_job, op));
}

/* From a final callback, or with no op in flight. */
static void file_finish(struct file_job *fj, int error)
{
    struct origin_stats *stats = &fj->job.origin->stats;
    struct counter *status =
        error == 0 ? &stats->status_2xx
        : error == E_MISSING || error == E_REFUSED || error == -ERANGE || error == E_CHANGED
            ? &stats->status_4xx
            : &stats->status_5xx;
    if (error != E_CANCELED)
        counter_add(status, 1);
    job_finish(&fj->job, error);
    if (!io_op_busy(&fj->op))
        file_free(fj);
}

/* What opening said, as an origin's error. */
static int translate(int64_t result)
{
    switch (result) {
    case -ENOENT:
    case -ENOTDIR:
    case -ELOOP:
    case -EXDEV:
    case -ENAMETOOLONG:
    case -EISDIR:
    case -ENXIO:
    case E_REFUSED: /* neither a file nor to be told apart from nothing: devices, pipes, folders */
        return E_MISSING;
    case -EACCES:
    case -EPERM:
        return E_REFUSED;
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
    case E_EXHAUSTED:
        return E_EXHAUSTED;
    default:
        return E_PROTOCOL;
    }
}

static void log_failure(struct file_job *fj, const char *what, int64_t result)
{
    const struct origin *origin = fj->job.origin;
    struct bytes id = fj->job.fetch->request.request_id;
    log_text(fj->job.client->log, LOG_ERROR, "origin", "bucket %s: %s %s: %s (request %.*s)",
        origin->name == NULL ? "" : origin->name, what, origin->folder, error_text((int)result), (int)id.len,
        (const char *)id.ptr);
}

/* True when the job has ended meanwhile or ends now. */
static bool over(struct file_job *fj)
{
    if (fj->job.fetch != NULL)
        return false;
    file_free(fj);
    return true;
}

/* ---- the body ---- */

static void deliver(struct file_job *fj)
{
    struct bytes rest = bytes_of(fj->buffer + fj->taken, fj->filled - fj->taken);
    size_t taken = fj->job.fetch->body(fj->job.fetch, rest);
    CHECK(taken <= rest.len);
    fj->taken += taken;
    fj->at += taken;
    fj->paused = taken < rest.len;
    if (!fj->paused)
        read_piece(fj);
}

static void piece_verified(struct io_op *op)
{
    struct file_job *fj = CONTAINER_OF(op, struct file_job, op);
    if (over(fj))
        return;
    bool same = op->result >= 0 && fj->seen.size_bytes == fj->info.size_bytes &&
                fj->seen.mtime_ns == fj->info.mtime_ns && fj->seen.inode == fj->info.inode;
    if (!same)
        file_finish(fj, op->result < 0 ? E_PROTOCOL : E_CHANGED);
    else if (fj->filled == 0)
        file_finish(fj, E_TRUNCATED);
    else
        deliver(fj);
}

static void piece_read(struct io_op *op)
{
    struct file_job *fj = CONTAINER_OF(op, struct file_job, op);
    if (over(fj))
        return;
    if (op->result < 0) {
        log_failure(fj, "reading in", op->result);
        file_finish(fj, E_PROTOCOL);
        return;
    }
    fj->filled = (size_t)op->result;
    counter_add(&fj->job.origin->stats.bytes_received, fj->filled);
    io_op_init(&fj->op, piece_verified);
    io_file_stat(fj->job.client->loop, &fj->op, fj->file, &fj->seen);
}

static void read_piece(struct file_job *fj)
{
    uint64_t left = fj->end - fj->at;
    if (left == 0) {
        file_finish(fj, 0);
        return;
    }
    fj->filled = fj->taken = 0;
    fj->iov = (struct iovec){fj->buffer, left < PIECE_BYTES ? (size_t)left : PIECE_BYTES};
    io_op_init(&fj->op, piece_read);
    io_file_read(fj->job.client->loop, &fj->op, fj->file, &fj->iov, 1, fj->at);
}

/* ---- the head ---- */

#define FIELDS_MAX 6

static void add_field(
    struct origin_head *head, struct origin_field *fields, struct bytes name, struct bytes value)
{
    CHECK(head->field_count < FIELDS_MAX);
    fields[head->field_count++] = (struct origin_field){name, value};
}

static struct bytes written(struct writer *w, size_t *from)
{
    struct bytes text = bytes_from(writer_bytes(w), *from);
    *from += text.len;
    return text;
}

static void tell_head(struct file_job *fj, struct origin_head *head)
{
    struct origin_field fields[FIELDS_MAX];
    char text[160];
    struct writer w = writer_of(text, sizeof text);
    size_t from = 0;
    head->fields = fields;
    answer_write_date((int64_t)(fj->info.mtime_ns / NS_PER_S), &w);
    head->last_modified = written(&w, &from);
    add_field(head, fields, BYTES("Last-Modified"), head->last_modified);
    add_field(head, fields, BYTES("ETag"), head->etag);
    if (head->status != 304) {
        write_decimal(&w, head->content_length);
        add_field(head, fields, BYTES("Content-Length"), written(&w, &from));
        add_field(head, fields, BYTES("Content-Type"), file_content_type(fj->job.fetch->request.key));
        add_field(head, fields, BYTES("Accept-Ranges"), BYTES("bytes"));
    }
    if (head->status == 206) {
        answer_write_content_range(head, &w);
        add_field(head, fields, BYTES("Content-Range"), written(&w, &from));
    }
    CHECK(!w.failed);
    fj->job.fetch->head(fj->job.fetch, head);
}

static void file_found(struct io_op *op)
{
    struct file_job *fj = CONTAINER_OF(op, struct file_job, op);
    if (over(fj))
        return;
    struct origin_fetch *fetch = fj->job.fetch;
    if (op->result < 0 || !fj->info.regular) {
        file_finish(fj, op->result < 0 ? E_PROTOCOL : E_MISSING);
        return;
    }
    struct writer w = writer_of(fj->etag, sizeof fj->etag);
    file_write_etag(fj->info.inode, fj->info.size_bytes, fj->info.mtime_ns, &w);
    struct origin_head head;
    int error = answer_decide(&fetch->request, writer_bytes(&w), fj->info.size_bytes, &head);
    if (error != 0) {
        fetch->total = fj->info.size_bytes;
        file_finish(fj, error);
        return;
    }
    fj->at = head.status == 206 ? head.first : 0;
    fj->end = head.status == 206 ? head.last + 1 : head.total;
    if (head.status == 304 || fetch->request.head_only)
        fj->at = fj->end;
    fetch->first_byte_ns = io_now_ns(fj->job.client->loop);
    histogram_add(&fj->job.origin->stats.first_byte, fetch->first_byte_ns - fetch->started_ns);
    if (fj->at < fj->end && (fj->buffer = malloc(PIECE_BYTES)) == NULL) {
        file_finish(fj, E_EXHAUSTED);
        return;
    }
    tell_head(fj, &head);
    read_piece(fj);
}

static void file_opened(struct io_op *op)
{
    struct file_job *fj = CONTAINER_OF(op, struct file_job, op);
    int64_t result = op->result;
    if (result >= 0)
        fj->file = op->handle;
    if (over(fj))
        return;
    if (result < 0) {
        int error = translate(result);
        if (error == E_PROTOCOL)
            log_failure(fj, "opening a file in", result);
        file_finish(fj, error);
        return;
    }
    io_op_init(&fj->op, file_found);
    io_file_stat(fj->job.client->loop, &fj->op, fj->file, &fj->info);
}

static void folder_opened(struct io_op *op)
{
    struct file_job *fj = CONTAINER_OF(op, struct file_job, op);
    int64_t result = op->result;
    if (result >= 0)
        fj->folder = op->handle;
    if (over(fj))
        return;
    if (result < 0) {
        log_failure(fj, "opening the folder", result);
        file_finish(fj, translate(result) == E_EXHAUSTED ? E_EXHAUSTED : E_UNREACHABLE);
        return;
    }
    io_op_init(&fj->op, file_opened);
    io_open_beneath(fj->job.client->loop, &fj->op, fj->folder, fj->path, IO_OPEN_READ | IO_OPEN_REGULAR);
}

static void file_start(struct file_job *fj)
{
    struct origin_fetch *fetch = fj->job.fetch;
    struct origin_stats *stats = &fj->job.origin->stats;
    fetch->attempts = 1;
    counter_add(&stats->requests, 1);
    if (fetch->request.head_only)
        counter_add(&stats->head_requests, 1);
    if (!file_key_valid(fetch->request.key) || fetch->request.version_id.len > 0) {
        file_finish(fj, E_MISSING); /* no file has such a name, and files have no versions */
        return;
    }
    memcpy(fj->path, fetch->request.key.ptr, fetch->request.key.len);
    io_op_init(&fj->op, folder_opened);
    io_open(fj->job.client->loop, &fj->op, fj->job.origin->folder, IO_OPEN_READ | IO_OPEN_DIRECTORY);
}

struct job *file_job_create(void)
{
    struct file_job *fj = calloc(1, sizeof *fj);
    return fj == NULL ? NULL : &fj->job;
}

void file_job_woken(struct job *job, unsigned wake)
{
    struct file_job *fj = CONTAINER_OF(job, struct file_job, job);
    if (wake & JOB_CANCEL) {
        file_finish(fj, E_CANCELED);
    } else if (wake & JOB_START) {
        file_start(fj);
    } else if ((wake & JOB_RESUME) && fj->paused) {
        fj->paused = false;
        deliver(fj);
    }
}
