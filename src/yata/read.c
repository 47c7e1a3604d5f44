#include "yata/read.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"

/* The bytes of one chunk that a read wants. */
struct piece {
    struct cache_get get;
    struct read *read;
    enum { PIECE_FREE, PIECE_ASKED, PIECE_AGAIN, PIECE_HERE } state;
    struct item *item; /* here */
    uint64_t at;       /* in the value */
    uint32_t len;
};

struct read {
    struct request request;
    struct read_wish wish;
    struct yata *yata;
    struct yata_value *value; /* NULL: not found yet */
    bool by_key;
    enum { HEAD_NONE, HEAD_ASKED, HEAD_AGAIN } head;
    struct cache_get head_get;
    uint64_t from, next, end;
    unsigned asked; /* pieces that are */
    int result;
    struct piece pieces[READ_PIECES];
    size_t key_len;
    uint8_t key[];
};

static struct read *read_of(struct request *request)
{
    return CONTAINER_OF(request, struct read, request);
}

/* ---- the end ---- */

static void abandon(struct read *read)
{
    if (read->head == HEAD_ASKED)
        cache_get_abandon(&read->head_get);
    read->head = HEAD_NONE;
    for (unsigned i = 0; i < READ_PIECES; i++) {
        struct piece *piece = &read->pieces[i];
        if (piece->state == PIECE_ASKED)
            cache_get_abandon(&piece->get);
        if (piece->state == PIECE_HERE)
            item_unref(&piece->item);
        piece->state = PIECE_FREE;
    }
    read->asked = 0;
}

/* What an inline value or the pieces that are here hold; they are the view's with a result of 0. */
static int make_view(struct read *read, struct yata_view **view)
{
    struct stretch stretches[READ_PIECES];
    struct view_range range = {read->from, read->next - read->from, read->value->layout.value_len};
    unsigned count = 0;
    if (read->value->layout.chunk_bytes == 0 && range.len > 0)
        stretches[count++] = (struct stretch){
            item_ref(read->value->head), LAYOUT_INLINE_AT + (uint32_t)read->from, (uint32_t)range.len};
    for (unsigned i = 0; i < READ_PIECES && read->pieces[i].state == PIECE_HERE; i++) {
        struct piece *piece = &read->pieces[i];
        uint32_t in_chunk = (uint32_t)(piece->at % read->value->layout.chunk_bytes);
        stretches[count++] =
            (struct stretch){piece->item, in_chunk - item_value_from(piece->item), piece->len};
    }
    int result = view_create(view, read->yata, &range, stretches, count);
    if (result < 0 && read->value->layout.chunk_bytes == 0 && range.len > 0)
        item_unref(&stretches[0].item);
    for (unsigned i = 0; result == 0 && i < READ_PIECES; i++)
        read->pieces[i].state = PIECE_FREE;
    return result;
}

static void call_back(struct read *read)
{
    const struct read_wish *wish = &read->wish;
    int result = read->result;
    struct yata_value *value = result == 0 ? read->value : NULL;
    struct yata_view *view = NULL;
    switch (wish->kind) {
    case READ_OPEN:
        wish->done.open(wish->context, result, value != NULL ? value_ref(value) : NULL);
        break;
    case READ_VIEW:
        if (result == 0)
            result = make_view(read, &view);
        wish->done.view(wish->context, result, view);
        break;
    case READ_COPY:
        wish->done.copy(wish->context, result < 0 ? result : (int64_t)(read->end - read->from),
            value != NULL ? value->layout.value_len : 0);
        break;
    default:
        UNREACHABLE();
    }
}

static void finish(struct read *read)
{
    if (read->result < 0)
        abandon(read);
    call_back(read);
    abandon(read);
    if (read->value != NULL)
        value_unref(read->value);
    request_end(&read->request);
    free(read);
}

static void fail(struct request *request, int error)
{
    struct read *read = read_of(request);
    bool stalled = read->head == HEAD_AGAIN;
    for (unsigned i = 0; i < READ_PIECES; i++)
        stalled = stalled || read->pieces[i].state == PIECE_AGAIN;
    read->result = stalled && error == E_TIMEOUT ? E_EXHAUSTED : error;
    finish(read);
}

/* ---- pieces ---- */

static struct piece *free_piece(struct read *read)
{
    for (unsigned i = 0; i < READ_PIECES; i++)
        if (read->pieces[i].state == PIECE_FREE)
            return &read->pieces[i];
    return NULL;
}

/* What comes back for a chunk that is not there: of a key that is a miss. */
static int missing(const struct read *read)
{
    return read->by_key ? E_MISSING : E_LOST;
}

static bool fits(const struct piece *piece, const struct item *item)
{
    const struct layout *layout = &piece->read->value->layout;
    uint32_t from = (uint32_t)(piece->at % layout->chunk_bytes);
    return item_value_len(item) == layout_chunk_len(layout, piece->at / layout->chunk_bytes) &&
           item_value_from(item) <= from && from + piece->len <= item_value_from(item) + item_held_len(item);
}

/* Takes over the reference. */
static void piece_arrived(struct piece *piece, struct item *item)
{
    struct read *read = piece->read;
    piece->state = PIECE_FREE;
    if (!fits(piece, item)) {
        read->result = missing(read);
        item_unref(&item);
        return;
    }
    piece->item = item;
    piece->state = PIECE_HERE;
    if (read->wish.kind != READ_COPY)
        return;
    uint32_t in_chunk = (uint32_t)(piece->at % read->value->layout.chunk_bytes);
    item_copy(item, in_chunk - item_value_from(item), piece->len,
        (uint8_t *)read->wish.to + (piece->at - read->from));
    item_unref(&piece->item);
    piece->state = PIECE_FREE;
}

static void advance(struct read *read);

static void piece_done(struct cache_get *get, int result, struct item *item)
{
    struct piece *piece = CONTAINER_OF(get, struct piece, get);
    struct read *read = piece->read;
    read->asked--;
    if (result == E_EXHAUSTED) {
        piece->state = PIECE_AGAIN;
        request_stall(&read->request);
        return;
    }
    piece->state = PIECE_FREE;
    if (result == 0)
        piece_arrived(piece, item);
    else
        read->result = missing(read);
    request_progress(&read->request);
    advance(read);
}

static void piece_ask(struct piece *piece)
{
    struct read *read = piece->read;
    const struct layout *layout = &read->value->layout;
    uint64_t number = piece->at / layout->chunk_bytes;
    uint32_t from = (uint32_t)(piece->at % layout->chunk_bytes), chunk_len = layout_chunk_len(layout, number);
    uint8_t buf[LAYOUT_CHUNK_KEY];
    struct item_key key = layout_chunk_key(layout->body_id, number, buf);
    struct item *item = cache_find(read->yata->cache, key);
    if (item != NULL) {
        store_hit(read->yata, item);
        piece_arrived(piece, item);
        return;
    }
    bool whole = piece->len > chunk_len / 2;
    piece->state = PIECE_ASKED;
    piece->get.done = piece_done;
    read->asked++;
    cache_get_start(read->yata->cache, read->request.loop->io_loop, &piece->get, key, whole ? 0 : from,
        whole ? UINT32_MAX : piece->len, whole);
}

static void piece_start(struct read *read, struct piece *piece)
{
    const struct layout *layout = &read->value->layout;
    uint64_t number = read->next / layout->chunk_bytes;
    uint32_t left = layout_chunk_len(layout, number) - (uint32_t)(read->next % layout->chunk_bytes);
    piece->read = read;
    piece->at = read->next;
    piece->len = read->end - read->next < left ? (uint32_t)(read->end - read->next) : left;
    read->next += piece->len;
    piece_ask(piece);
}

static bool has_stalled(const struct read *read)
{
    for (unsigned i = 0; i < READ_PIECES; i++)
        if (read->pieces[i].state == PIECE_AGAIN)
            return true;
    return false;
}

/* Asks for what may be asked for; ends the read when all is there or something is not. */
static void advance(struct read *read)
{
    struct piece *piece;
    while (read->result == 0 && read->next < read->end && (piece = free_piece(read)) != NULL)
        piece_start(read, piece);
    /* A view ends early when its range touches more chunks than it can hold. */
    bool all = read->next >= read->end || read->wish.kind == READ_VIEW;
    if (read->result < 0 || (all && read->asked == 0 && !has_stalled(read)))
        finish(read);
}

/* ---- the version ---- */

static void value_found(struct read *read)
{
    uint64_t value_len = read->value->layout.value_len, from = read->wish.from;
    if (read->wish.kind == READ_OPEN) {
        finish(read);
        return;
    }
    read->end = value_clip(value_len, &from, read->wish.len);
    read->from = read->next = from;
    if (read->wish.kind == READ_VIEW && read->end - from > YATA_VIEW_MAX)
        read->end = from + YATA_VIEW_MAX;
    if (read->value->layout.chunk_bytes == 0) {
        read->next = read->end;
        if (read->wish.kind == READ_COPY && read->end > from)
            item_copy(read->value->head, LAYOUT_INLINE_AT + (uint32_t)from, (uint32_t)(read->end - from),
                read->wish.to);
    }
    advance(read);
}

/* Takes over the reference. */
static void head_arrived(struct read *read, struct item *head)
{
    read->result = value_create(&read->value, read->yata, read->request.loop, head);
    if (read->result < 0)
        finish(read);
    else
        value_found(read);
}

static void head_done(struct cache_get *get, int result, struct item *item)
{
    struct read *read = CONTAINER_OF(get, struct read, head_get);
    read->head = HEAD_NONE;
    if (result == E_EXHAUSTED) {
        read->head = HEAD_AGAIN;
        request_stall(&read->request);
    } else if (result == 0) {
        request_progress(&read->request);
        head_arrived(read, item);
    } else {
        read->result = E_MISSING;
        finish(read);
    }
}

static void find_head(struct read *read)
{
    struct item_key key = layout_head_key(bytes_of(read->key, read->key_len));
    struct item *head = cache_find(read->yata->cache, key);
    read->head = HEAD_NONE;
    if (head != NULL) {
        store_hit(read->yata, head);
        head_arrived(read, head);
        return;
    }
    read->head = HEAD_ASKED;
    read->head_get.done = head_done;
    cache_get_start(
        read->yata->cache, read->request.loop->io_loop, &read->head_get, key, 0, UINT32_MAX, true);
}

static void start(struct request *request)
{
    struct read *read = read_of(request);
    if (read->value != NULL)
        value_found(read);
    else
        find_head(read);
}

static void resume(struct request *request)
{
    struct read *read = read_of(request);
    if (read->head == HEAD_AGAIN) {
        find_head(read);
        return;
    }
    for (unsigned i = 0; i < READ_PIECES && read->result == 0; i++)
        if (read->pieces[i].state == PIECE_AGAIN)
            piece_ask(&read->pieces[i]);
    advance(read);
}

/* ---- asking ---- */

static int submit(struct read *read, struct loop *loop)
{
    read->request = (struct request){.start = start, .resume = resume, .fail = fail};
    counter_add(&read->yata->gets, 1);
    int result = request_submit(&read->request, loop);
    if (result == 0)
        return 0;
    if (read->value != NULL)
        value_unref(read->value);
    free(read);
    return result;
}

int read_by_key(struct yata *yata, struct bytes key, const struct read_wish *wish)
{
    struct read *read = calloc(1, sizeof *read + key.len);
    if (read == NULL)
        return -ENOMEM;
    read->wish = *wish;
    read->yata = yata;
    read->by_key = true;
    read->key_len = key.len;
    memcpy(read->key, key.ptr, key.len);
    return submit(read, store_loop_of(yata, key));
}

int read_value(struct yata_value *value, const struct read_wish *wish)
{
    struct read *read = calloc(1, sizeof *read);
    if (read == NULL)
        return -ENOMEM;
    read->wish = *wish;
    read->yata = value->yata;
    read->value = value_ref(value);
    return submit(read, value->loop);
}
