#include "cache/purges.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/error.h"

struct record {
    uint64_t sequence;
    struct purge purge; /* of `text` */
    uint8_t *text;
    uint64_t places[PURGES_DEVICES_MAX]; /* generation of its segment; 0: it is not needed there (any more) */
};

struct purges {
    /* Highest sequence of a purge; UINT64_MAX while one is being added, so that whoever draws a sequence
     * after that one's waits for it. */
    _Atomic uint64_t newest;
    pthread_mutex_t lock; /* of all below */
    const struct purge_view *view;
    uint64_t last, floor, swept;
    uint32_t count;
    size_t text_bytes;
    uint64_t added, added_objects, widened;
    uint64_t slots[PURGE_SLOTS];
    struct record records[PURGES_MAX]; /* by sequence */
};

static const struct purge_view no_view;

int purges_create(struct purges **purges)
{
    struct purges *made = calloc(1, sizeof *made);
    if (made == NULL)
        return -ENOMEM;
    pthread_mutex_init(&made->lock, NULL);
    made->view = &no_view;
    *purges = made;
    return 0;
}

void purges_destroy(struct purges *purges)
{
    if (purges == NULL)
        return;
    for (uint32_t i = 0; i < purges->count; i++)
        free(purges->records[i].text);
    pthread_mutex_destroy(&purges->lock);
    free(purges);
}

void purges_view(struct purges *purges, const struct purge_view *view)
{
    pthread_mutex_lock(&purges->lock);
    purges->view = view;
    pthread_mutex_unlock(&purges->lock);
}

/* ---- records, under lock ---- */

static size_t text_len(const struct record *record)
{
    return record->purge.prefix.len + record->purge.tag.len;
}

static void record_clear(struct purges *purges, struct record *record)
{
    purges->text_bytes -= text_len(record);
    free(record->text);
    *record = (struct record){0};
}

/* The records whose sequence is 0 go. */
static void compact(struct purges *purges)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < purges->count; i++)
        if (purges->records[i].sequence != 0)
            purges->records[kept++] = purges->records[i];
    for (uint32_t i = kept; i < purges->count; i++)
        purges->records[i] = (struct record){0};
    purges->count = kept;
}

/* Without memory for the text it hides everything. */
static struct record record_make(struct purges *purges, uint64_t sequence, const struct purge *purge)
{
    struct record record = {.sequence = sequence, .purge = {.soft = purge->soft}};
    size_t prefix = purge->prefix.len, tag = purge->tag.len;
    record.text = prefix + tag > 0 ? malloc(prefix + tag) : NULL;
    if (record.text == NULL)
        return record;
    if (prefix > 0)
        memcpy(record.text, purge->prefix.ptr, prefix);
    if (tag > 0)
        memcpy(record.text + prefix, purge->tag.ptr, tag);
    record.purge.prefix = bytes_of(record.text, prefix);
    record.purge.tag = bytes_of(record.text + prefix, tag);
    purges->text_bytes += prefix + tag;
    return record;
}

/* Keeps the order; there is room. */
static struct record *record_insert(struct purges *purges, struct record record)
{
    CHECK(purges->count < PURGES_MAX);
    uint32_t at = purges->count++;
    for (; at > 0 && purges->records[at - 1].sequence > record.sequence; at--)
        purges->records[at] = purges->records[at - 1];
    purges->records[at] = record;
    return &purges->records[at];
}

static struct record *record_find(struct purges *purges, uint64_t sequence)
{
    uint32_t from = 0, to = purges->count;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (purges->records[middle].sequence < sequence)
            from = middle + 1;
        else
            to = middle;
    }
    return from < purges->count && purges->records[from].sequence == sequence ? &purges->records[from] : NULL;
}

static bool is_needed_on_disk(const struct record *record)
{
    for (unsigned i = 0; i < PURGES_DEVICES_MAX; i++)
        if (record->places[i] != 0)
            return true;
    return false;
}

/* What hides nothing any more. */
static void drop_passed(struct purges *purges)
{
    for (uint32_t i = 0; i < purges->count && purges->records[i].sequence <= purges->swept; i++) {
        if (is_needed_on_disk(&purges->records[i]))
            continue;
        if (purges->records[i].sequence > purges->floor)
            purges->floor = purges->records[i].sequence;
        record_clear(purges, &purges->records[i]);
    }
    compact(purges);
}

/* What the later purge hides too. */
static void drop_covered(struct purges *purges, const struct purge *later)
{
    for (uint32_t i = 0; i < purges->count; i++)
        if (purge_covers(later, &purges->records[i].purge))
            record_clear(purges, &purges->records[i]);
    compact(purges);
}

/* ---- a full table ---- */

/* Merges those of the older half that lie under `prefix` into one; how many they were. */
static uint32_t merge(struct purges *purges, struct bytes prefix)
{
    struct record wide = {.purge.soft = true};
    struct purge scope = {.prefix = prefix};
    uint32_t merged = 0, half = (purges->count + 1) / 2;
    for (uint32_t i = 0; i < half; i++)
        merged += purge_covers(&scope, &purges->records[i].purge);
    if (merged < 2 && prefix.len > 0)
        return merged;
    uint8_t text[PURGE_PREFIX_MAX];
    if (prefix.len > 0)
        memcpy(text, prefix.ptr, prefix.len);
    scope.prefix = bytes_of(text, prefix.len);
    for (uint32_t i = 0; i < half; i++) {
        struct record *record = &purges->records[i];
        if (!purge_covers(&scope, &record->purge))
            continue;
        wide.sequence = record->sequence;
        wide.purge.soft = wide.purge.soft && record->purge.soft;
        for (unsigned j = 0; j < PURGES_DEVICES_MAX; j++)
            if (record->places[j] > wide.places[j])
                wide.places[j] = record->places[j];
        record_clear(purges, record);
    }
    compact(purges);
    scope.soft = wide.purge.soft;
    struct record made = record_make(purges, wide.sequence, &scope);
    memcpy(made.places, wide.places, sizeof made.places);
    record_insert(purges, made);
    return merged;
}

static bool is_full(const struct purges *purges, const struct purge *next)
{
    return purges->count == PURGES_MAX ||
           purges->text_bytes + next->prefix.len + next->tag.len > PURGES_TEXT_MAX;
}

/* Room for one more. True if that took widening. */
static bool make_room(struct purges *purges, const struct purge *next)
{
    drop_passed(purges);
    if (!is_full(purges, next))
        return false;
    purges->widened++;
    while (is_full(purges, next)) {
        const struct purge *oldest = &purges->records[0].purge;
        size_t bucket = purges->view->bucket_len != NULL ? purges->view->bucket_len(oldest->prefix) : 0;
        CHECK(bucket <= oldest->prefix.len && purges->count > 0);
        if (merge(purges, bytes_of(oldest->prefix.ptr, bucket)) < 2 && bucket > 0)
            merge(purges, (struct bytes){0});
    }
    return true;
}

/* ---- adding ---- */

static void raise_to(uint64_t *to, uint64_t sequence)
{
    if (sequence > *to)
        *to = sequence;
}

static uint64_t draw(struct purges *purges, _Atomic uint64_t *counter)
{
    atomic_store(&purges->newest, UINT64_MAX);
    uint64_t sequence = atomic_fetch_add(counter, 1) + 1;
    raise_to(&purges->last, sequence);
    return sequence;
}

bool purges_add(
    struct purges *purges, const struct purge *purge, _Atomic uint64_t *counter, uint64_t *sequence)
{
    CHECK(purge_fits(purge));
    pthread_mutex_lock(&purges->lock);
    drop_covered(purges, purge);
    bool widened = make_room(purges, purge);
    *sequence = draw(purges, counter);
    record_insert(purges, record_make(purges, *sequence, purge));
    purges->added++;
    atomic_store(&purges->newest, purges->last);
    pthread_mutex_unlock(&purges->lock);
    return widened;
}

uint64_t purges_object_hash(struct bytes object)
{
    return XXH3_64bits(object.ptr, object.len);
}

uint64_t purges_add_object(struct purges *purges, struct bytes object, _Atomic uint64_t *counter)
{
    uint64_t hash = purges_object_hash(object);
    pthread_mutex_lock(&purges->lock);
    uint64_t sequence = draw(purges, counter);
    raise_to(&purges->slots[hash % PURGE_SLOTS], sequence);
    purges->added_objects++;
    atomic_store(&purges->newest, purges->last);
    pthread_mutex_unlock(&purges->lock);
    return sequence;
}

/* ---- judging ---- */

static size_t object_len(const struct purges *purges, struct bytes key)
{
    size_t len = purges->view->object_len != NULL ? purges->view->object_len(key) : key.len;
    CHECK(len <= key.len);
    return len;
}

static bool is_object_purged(struct purges *purges, struct bytes key, uint64_t since)
{
    uint64_t hash = purges_object_hash(bytes_of(key.ptr, object_len(purges, key)));
    return purges->slots[hash % PURGE_SLOTS] > since;
}

/* By the records above `since`, up to `up_to`. `item` NULL: whatever its tags. */
static enum purge_verdict by_records(
    struct purges *purges, struct bytes key, const struct item *item, uint64_t since, uint64_t up_to)
{
    enum purge_verdict verdict = since < purges->floor ? PURGE_GONE : PURGE_CLEAR;
    for (uint32_t i = purges->count; i-- > 0 && verdict != PURGE_GONE;) {
        const struct record *record = &purges->records[i];
        if (record->sequence <= since)
            break;
        const struct purge *purge = &record->purge;
        if (record->sequence > up_to || !bytes_start_with(key, purge->prefix))
            continue;
        if (purge->tag.len > 0 && item != NULL &&
            (purges->view->has_tag == NULL || !purges->view->has_tag(item, purge->tag)))
            continue;
        verdict = purge->soft ? PURGE_STALE : PURGE_GONE;
    }
    return verdict;
}

static enum purge_verdict judge(
    struct purges *purges, struct item *item, enum purge_where where, uint64_t up_to)
{
    uint64_t since = item_clear_of(item);
    struct item_key key = item_key(item);
    if (key.kind == ITEM_CHUNK || (since != 0 && atomic_load(&purges->newest) <= since))
        return PURGE_CLEAR;
    pthread_mutex_lock(&purges->lock);
    enum purge_verdict verdict = by_records(purges, key.bytes, item, since, up_to);
    bool exact =
        where == PURGE_ON_DISK && key.kind == ITEM_HEAD && object_len(purges, key.bytes) == key.bytes.len;
    if (since == 0 || (!exact && is_object_purged(purges, key.bytes, since)))
        verdict = PURGE_GONE;
    uint64_t last = purges->last < up_to ? purges->last : up_to;
    pthread_mutex_unlock(&purges->lock);
    if (verdict == PURGE_CLEAR)
        item_clear_of_raise(item, last);
    return verdict;
}

enum purge_verdict purges_judge(struct purges *purges, struct item *item, enum purge_where where)
{
    return judge(purges, item, where, UINT64_MAX);
}

bool purges_outlives(struct purges *purges, struct item *item, uint64_t up_to)
{
    enum purge_verdict verdict = judge(purges, item, PURGE_IN_MEMORY, UINT64_MAX);
    if (verdict == PURGE_STALE)
        verdict = judge(purges, item, PURGE_IN_MEMORY, up_to);
    return verdict == PURGE_CLEAR;
}

enum purge_verdict purges_since(struct purges *purges, struct bytes key, uint64_t since)
{
    if (atomic_load(&purges->newest) <= since)
        return PURGE_CLEAR;
    pthread_mutex_lock(&purges->lock);
    enum purge_verdict verdict = by_records(purges, key, NULL, since, UINT64_MAX);
    if (is_object_purged(purges, key, since))
        verdict = PURGE_GONE;
    pthread_mutex_unlock(&purges->lock);
    return verdict;
}

/* ---- where records lie ---- */

void purges_placed(struct purges *purges, unsigned device, uint64_t sequence, uint64_t generation)
{
    CHECK(device < PURGES_DEVICES_MAX && generation > 0);
    pthread_mutex_lock(&purges->lock);
    struct record *record = record_find(purges, sequence);
    if (record != NULL)
        raise_to(&record->places[device], generation);
    pthread_mutex_unlock(&purges->lock);
}

void purges_passed(struct purges *purges, unsigned device, uint64_t below_generation)
{
    CHECK(device < PURGES_DEVICES_MAX);
    pthread_mutex_lock(&purges->lock);
    for (uint32_t i = 0; i < purges->count; i++)
        if (purges->records[i].places[device] < below_generation)
            purges->records[i].places[device] = 0;
    pthread_mutex_unlock(&purges->lock);
}

void purges_left(struct purges *purges, unsigned device)
{
    purges_passed(purges, device, UINT64_MAX);
}

/* Under lock. */
static void found(
    struct purges *purges, unsigned device, uint64_t sequence, uint64_t generation, const struct purge *purge)
{
    struct record *record = record_find(purges, sequence);
    if (record == NULL) {
        make_room(purges, purge);
        record = record_insert(purges, record_make(purges, sequence, purge));
        raise_to(&purges->last, sequence);
    }
    raise_to(&record->places[device], generation);
}

void purges_found(
    struct purges *purges, unsigned device, uint64_t sequence, uint64_t generation, const struct purge *purge)
{
    CHECK(device < PURGES_DEVICES_MAX && generation > 0 && sequence > 0);
    pthread_mutex_lock(&purges->lock);
    found(purges, device, sequence, generation, purge);
    atomic_store(&purges->newest, purges->last);
    pthread_mutex_unlock(&purges->lock);
}

void purges_found_object(struct purges *purges, uint64_t hash, uint64_t sequence)
{
    pthread_mutex_lock(&purges->lock);
    raise_to(&purges->slots[hash % PURGE_SLOTS], sequence);
    raise_to(&purges->last, sequence);
    atomic_store(&purges->newest, purges->last);
    pthread_mutex_unlock(&purges->lock);
}

void purges_swept(struct purges *purges, uint64_t up_to)
{
    pthread_mutex_lock(&purges->lock);
    raise_to(&purges->swept, up_to);
    pthread_mutex_unlock(&purges->lock);
}

/* ---- the snapshot ---- */

size_t purges_encode(struct purges *purges, unsigned device, uint8_t *to)
{
    struct writer w = writer_of(to, PURGES_ENCODED_MAX);
    pthread_mutex_lock(&purges->lock);
    uint32_t count = 0;
    for (uint32_t i = 0; i < purges->count; i++)
        count += purges->records[i].places[device] != 0;
    write_u32(&w, count);
    write_u32(&w, PURGE_SLOTS);
    for (unsigned i = 0; i < PURGE_SLOTS; i++)
        write_u64(&w, purges->slots[i]);
    for (uint32_t i = 0; i < purges->count; i++) {
        const struct record *record = &purges->records[i];
        if (record->places[device] == 0)
            continue;
        write_u64(&w, record->sequence);
        write_u64(&w, record->places[device]);
        write_u16(&w, record->purge.soft);
        write_u16(&w, (uint16_t)record->purge.prefix.len);
        write_u16(&w, (uint16_t)record->purge.tag.len);
        write_u16(&w, 0);
        write_bytes(&w, record->purge.prefix);
        write_bytes(&w, record->purge.tag);
    }
    pthread_mutex_unlock(&purges->lock);
    CHECK(!w.failed);
    return writer_bytes(&w).len;
}

static bool found_next(struct purges *purges, unsigned device, struct reader *r)
{
    uint64_t sequence = read_u64(r), generation = read_u64(r);
    uint16_t soft = read_u16(r), prefix = read_u16(r), tag = read_u16(r);
    (void)read_u16(r);
    struct purge purge = {.soft = soft != 0};
    purge.prefix = read_bytes(r, prefix);
    purge.tag = read_bytes(r, tag);
    if (r->failed || sequence == 0 || generation == 0 || !purge_fits(&purge))
        return false;
    found(purges, device, sequence, generation, &purge);
    return true;
}

int purges_decode(struct purges *purges, unsigned device, struct bytes from)
{
    CHECK(device < PURGES_DEVICES_MAX);
    struct reader r = reader_of(from);
    uint32_t count = read_u32(&r), slots = read_u32(&r);
    if (count > PURGES_MAX || slots != PURGE_SLOTS || from.len < 8 + 8 * PURGE_SLOTS)
        return E_CORRUPT;
    bool good = true;
    pthread_mutex_lock(&purges->lock);
    for (uint32_t i = 0; i < slots; i++) {
        uint64_t sequence = read_u64(&r);
        raise_to(&purges->slots[i], sequence);
        raise_to(&purges->last, sequence);
    }
    for (uint32_t i = 0; i < count && good; i++)
        good = found_next(purges, device, &r);
    atomic_store(&purges->newest, purges->last);
    pthread_mutex_unlock(&purges->lock);
    return good && !r.failed && reader_left(&r) == 0 ? 0 : E_CORRUPT;
}

void purges_stats(struct purges *purges, struct purges_stats *stats)
{
    pthread_mutex_lock(&purges->lock);
    *stats = (struct purges_stats){.records = purges->count,
        .added = purges->added,
        .added_objects = purges->added_objects,
        .widened = purges->widened,
        .memory_bytes = sizeof *purges + purges->text_bytes};
    pthread_mutex_unlock(&purges->lock);
}
