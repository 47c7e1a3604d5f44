#include "origin/list.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "io/folder.h"
#include "origin/backend.h"
#include "origin/s3_list.h"

#define KEY_MAX 1024
#define FOLDER_PAGE_KEYS 256
#define FOLDER_PAGE_ENTRIES 20000 /* looked at in one go */

struct origin_list {
    struct origin_client *client;
    struct origin *origin;
    void (*page)(void *context);
    void *context;
    bool awaited, canceled, more;
    int error;
    char prefix[KEY_MAX + 1], code[64];

    /* s3 */
    struct origin_fetch fetch;
    struct s3_list answer;
    int answer_error;
    size_t token_len;
    char token[S3_LIST_TOKEN_MAX]; /* of the page that is asked for */

    /* file */
    struct io_op op;
    struct io_folder *folder;
    char *paths; /* NUL behind each */
    size_t paths_len, paths_at;
};

static void page_ends(struct origin_list *list, int error)
{
    CHECK(list->awaited);
    list->awaited = false;
    list->error = list->canceled ? E_CANCELED : error;
    list->more = list->more && list->error == 0;
    list->page(list->context);
}

/* ---- s3 ---- */

static void on_head(struct origin_fetch *fetch, const struct origin_head *head)
{
    (void)fetch, (void)head;
}

static size_t on_body(struct origin_fetch *fetch, struct bytes bytes)
{
    struct origin_list *list = CONTAINER_OF(fetch, struct origin_list, fetch);
    if (list->answer_error == 0)
        list->answer_error = s3_list_feed(&list->answer, bytes);
    if (list->answer_error != 0)
        origin_fetch_cancel(fetch);
    return bytes.len;
}

static void on_done(struct origin_fetch *fetch)
{
    struct origin_list *list = CONTAINER_OF(fetch, struct origin_list, fetch);
    int error = list->answer_error != 0 ? list->answer_error : fetch->error;
    if (error == 0)
        error = s3_list_end(&list->answer);
    memcpy(list->code, fetch->code, sizeof list->code);
    struct bytes token = s3_list_token(&list->answer);
    /* An answer that goes on with itself would do so for ever. */
    if (error == 0 && token.len > 0 && bytes_equal(token, bytes_of(list->token, list->token_len)))
        error = E_PROTOCOL;
    if (error == 0) {
        memcpy(list->token, token.ptr, token.len);
        list->token_len = token.len;
        list->more = token.len > 0;
    }
    page_ends(list, error);
}

static void s3_page_failed(struct io_op *op)
{
    page_ends(CONTAINER_OF(op, struct origin_list, op), E_EXHAUSTED);
}

static void next_s3(struct origin_list *list)
{
    s3_list_deinit(&list->answer);
    list->answer_error = s3_list_init(&list->answer);
    if (list->answer_error < 0) {
        io_op_init(&list->op, s3_page_failed);
        io_timer(list->client->loop, &list->op, 0);
        return;
    }
    list->fetch = (struct origin_fetch){.head = on_head, .body = on_body, .done = on_done};
    list->fetch.request.listing = true;
    list->fetch.request.prefix = bytes_of_string(list->prefix);
    list->fetch.request.token = bytes_of(list->token, list->token_len);
    origin_fetch_start(list->client, list->origin, &list->fetch);
}

/* ---- folders ---- */

static int walk(struct origin_list *list)
{
    unsigned budget = FOLDER_PAGE_ENTRIES;
    int result = 0;
    if (list->folder == NULL)
        result = io_folder_open(&list->folder, list->origin->folder, list->prefix);
    for (unsigned i = 0; i < FOLDER_PAGE_KEYS && result >= 0; i++) {
        result = io_folder_next(list->folder, list->paths + list->paths_len, &budget);
        if (result == 0)
            return 0;
        if (result > 0)
            list->paths_len += (size_t)result + 1;
    }
    return result == E_EXHAUSTED ? 1 : result;
}

/* On a pool thread; the list is nobody else's meanwhile. */
static void work(struct io_op *op)
{
    op->result = walk(CONTAINER_OF(op, struct origin_list, op));
}

static void walked(struct io_op *op)
{
    struct origin_list *list = CONTAINER_OF(op, struct origin_list, op);
    int64_t result = op->result;
    list->more = result > 0;
    if (result < 0 && result != -ECANCELED && result != -ENOMEM)
        log_text(list->client->log, LOG_ERROR, "origin", "bucket %s: listing %s: %s",
            list->origin->name == NULL ? "" : list->origin->name, list->origin->folder,
            error_text((int)result));
    page_ends(list, result >= 0            ? 0
                    : result == -ENOMEM    ? E_EXHAUSTED
                    : result == -EACCES    ? E_REFUSED
                    : result == -ECANCELED ? E_CANCELED
                                           : E_UNREACHABLE);
}

static void next_folder(struct origin_list *list)
{
    list->paths_len = list->paths_at = 0;
    io_op_init(&list->op, walked);
    io_work(list->client->loop, &list->op, work);
}

static bool take_path(struct origin_list *list, struct bytes *key)
{
    if (list->paths_at >= list->paths_len)
        return false;
    *key = bytes_of_string(list->paths + list->paths_at);
    list->paths_at += key->len + 1;
    return true;
}

/* ---- the contract ---- */

int origin_list_open(struct origin_list **list_out, struct origin_client *client, struct origin *origin,
    struct bytes prefix, void (*page)(void *context), void *context)
{
    if (origin->kind != ORIGIN_S3 && origin->kind != ORIGIN_FILE)
        return E_UNSUPPORTED;
    if (prefix.len > KEY_MAX)
        return E_TOO_LARGE;
    struct origin_list *list = calloc(1, sizeof *list);
    if (list != NULL && origin->kind == ORIGIN_FILE)
        list->paths = malloc((size_t)FOLDER_PAGE_KEYS * (IO_FOLDER_PATH_MAX + 1));
    if (list == NULL || (origin->kind == ORIGIN_FILE && list->paths == NULL)) {
        free(list);
        return -ENOMEM;
    }
    list->client = client;
    list->origin = origin;
    list->page = page;
    list->context = context;
    list->more = true;
    if (prefix.len > 0)
        memcpy(list->prefix, prefix.ptr, prefix.len);
    *list_out = list;
    return 0;
}

void origin_list_next(struct origin_list *list)
{
    CHECK(!list->awaited && list->more);
    list->awaited = true;
    list->code[0] = '\0';
    if (list->origin->kind == ORIGIN_S3)
        next_s3(list);
    else
        next_folder(list);
}

void origin_list_cancel(struct origin_list *list)
{
    list->canceled = true;
    if (!list->awaited)
        return;
    if (list->origin->kind == ORIGIN_S3 && list->answer_error == 0)
        origin_fetch_cancel(&list->fetch);
    else
        io_cancel(list->client->loop, &list->op);
}

int origin_list_error(const struct origin_list *list, const char **code)
{
    CHECK(!list->awaited);
    *code = list->code;
    return list->error;
}

bool origin_list_take(struct origin_list *list, struct bytes *key)
{
    CHECK(!list->awaited && list->error == 0);
    return list->origin->kind == ORIGIN_S3 ? list->answer.parser && s3_list_take(&list->answer, key)
                                           : take_path(list, key);
}

bool origin_list_has_more(const struct origin_list *list)
{
    return list->more;
}

void origin_list_close(struct origin_list **list_inout)
{
    struct origin_list *list = *list_inout;
    *list_inout = NULL;
    if (list == NULL)
        return;
    CHECK(!list->awaited && !io_op_busy(&list->op));
    s3_list_deinit(&list->answer);
    io_folder_close(&list->folder);
    free(list->paths);
    free(list);
}
