/*
 * Damage on the medium: a bit of the device flips while nobody looks. Whatever it was part of, the tier
 * opens, ends what it does, and answers each key with the bytes put last or not at all; what was removed
 * stays so; and a miss that damage made is counted.
 *
 * One device, made once for each way to stop, in its second life: a dozen segments full, sealed with tables,
 * and one not full, which a clean stop seals too and leaves a snapshot beside, and a kill leaves to the scan.
 * Every byte of every structure, then random bits: test_media [random bits], 10,000 by default.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "cache/segment.h"
#include "cache/snapshot.h"
#include "cache/superblock.h"
#include "disk_stage.h"
#include "io/fake.h"

#define MIB (UINT64_C(1) << 20)
enum {
    KEYS = 40,
    ITEMS_MAX = 400,
    CHANGED_BY_OPEN = 2 * SUPERBLOCK_BYTES,
    LIFE_GOES_ON = 37,
    TRIAL_SECONDS_MAX = 60
};

/* A device as a stop left it, and what it must hold. */
struct world {
    struct stage stage;
    struct random random;
    uint8_t *image;
    uint64_t len, used; /* bytes; where the last segment in use ends */
    int64_t expect[KEYS];
    struct superblock super;
    struct {
        uint64_t place;
        uint32_t header_len, key_len, value_len;
    } items[ITEMS_MAX];
    unsigned item_count, trials, misses;
};

static unsigned random_bits = 10000;

/* ---- the device ---- */

static void new_io(struct stage *stage, struct fake_disk *disk)
{
    struct io_config config = {.choice = IO_FAKE, .fake_seed = ++stage->seed};
    struct io_report report;
    if (stage->io != NULL)
        io_destroy(stage->io);
    assert_int_equal(io_create(&stage->io, &config, &report), 0);
    if (disk != NULL)
        fake_disk_attach(stage->io, disk);
}

/* Ends the life: by a clean stop, or by the death of the process. */
static void stop(struct stage *stage, bool clean)
{
    struct fake_disk *disk = clean ? NULL : fake_disk_cut(stage->io, FAKE_KILL);
    int result = stage_close(stage);
    if (clean) {
        assert_int_equal(result, 0);
        disk = fake_disk_cut(stage->io, FAKE_KILL);
    }
    new_io(stage, disk);
}

static void put(struct world *world, uint64_t key, int64_t version, uint32_t len)
{
    while (stage_put(&world->stage, key, (uint64_t)version, len) == E_EXHAUSTED)
        stage_turn(&world->stage);
    world->expect[key] = version;
}

/* Items of all sizes, replaced and removed ones among them, in more than six segments. Versions from `first`
 * on. */
static void fill(struct world *world, int64_t first)
{
    static const uint32_t lens[] = {8, 100, 4000, 16384, 30000, 65535, 65536, 100001, 262144};
    for (int64_t version = first; version < first + 120; version++)
        put(world, random_below(&world->random, KEYS), version,
            lens[random_below(&world->random, sizeof lens / sizeof lens[0])]);
    put(world, 7, first + 150, 900);
    for (uint64_t key = 0; key < KEYS; key += 7) {
        assert_int_equal(stage_remove(&world->stage, key), 0);
        world->expect[key] = E_MISSING;
    }
    put(world, 1, first + 200, 5000);
    put(world, 2, first + 201, 262144);
    put(world, 3, first + 202, 300);
    assert_int_equal(stage_flush(&world->stage), 0);
}

/* Notes where the items of the segment lie; true if there are any. */
static bool survey(struct world *world, uint64_t segment_place)
{
    struct segment_item item;
    uint32_t offset = 0, next, bytes = (uint32_t)world->super.segment_bytes;
    while (offset < bytes) {
        struct bytes from = bytes_of(world->image + segment_place + offset, bytes - offset);
        int result = segment_scan(&item, from, offset, world->super.hash_seed, segment_place, &next);
        if (result < 0)
            break;
        if (result == 1) {
            unsigned i = world->item_count++;
            assert_true(i < ITEMS_MAX);
            world->items[i].place = segment_place + offset;
            world->items[i].header_len = item.header_len;
            world->items[i].key_len = (uint32_t)item.key.len;
            world->items[i].value_len = item.value_len;
        }
        offset = next;
    }
    return offset > 0;
}

static void world_init(struct world *world, bool clean)
{
    *world = (struct world){0};
    for (unsigned key = 0; key < KEYS; key++)
        world->expect[key] = E_MISSING;
    random_init(&world->random, 7);
    stage_init(&world->stage, 34 * MIB);
    world->stage.driver = IO_FAKE;
    assert_int_equal(stage_open(&world->stage), 0);
    fill(world, 1);
    stop(&world->stage, true); /* leaves a snapshot, soon of no use */
    assert_int_equal(stage_open(&world->stage), 0);
    fill(world, 1000);
    stop(&world->stage, clean);
    const uint8_t *now = fake_disk_bytes(world->stage.io, world->stage.config.devices[0].path, &world->len);
    world->image = malloc(world->len);
    memcpy(world->image, now, world->len);
    assert_int_equal(
        superblock_choose(&world->super, bytes_of(world->image, SUPERBLOCK_COPIES * SUPERBLOCK_BYTES)), 0);
    assert_int_equal(world->super.snapshot_mark != 0, clean);
    for (uint64_t i = 0; i < world->super.segment_count; i++) {
        uint64_t place = world->super.data_offset + i * world->super.segment_bytes;
        if (survey(world, place))
            world->used = place + world->super.segment_bytes;
    }
    assert_true(world->used > 12 * MIB && world->item_count > 100);
}

static void world_deinit(struct world *world)
{
    print_message("%u bits flipped, %u items missed\n", world->trials, world->misses);
    assert_true(world->misses > 0);
    free(world->image);
    assert_int_equal(io_destroy(world->stage.io), 0);
}

/* ---- one flipped bit ---- */

static uint8_t *medium(struct world *world)
{
    uint64_t len;
    uint8_t *bytes = fake_disk_bytes(world->stage.io, world->stage.config.devices[0].path, &len);
    assert_int_equal(len, world->len);
    return bytes;
}

static unsigned check(struct world *world, uint64_t at)
{
    unsigned missing = 0;
    for (unsigned key = 0; key < KEYS; key++) {
        int64_t version = stage_version(&world->stage, key);
        if (version >= 0 && version != world->expect[key])
            fail_msg("bit in byte %llu: key %u has version %lld, not %lld", (unsigned long long)at, key,
                (long long)version, (long long)world->expect[key]);
        missing += version < 0 && world->expect[key] > 0;
    }
    return missing;
}

/* The device is used on, and stopped well: nothing wrong comes of the damage later either. */
static void life_goes_on(struct world *world, uint64_t at)
{
    struct stage *stage = &world->stage;
    int64_t before[KEYS];
    memcpy(before, world->expect, sizeof before);
    for (unsigned key = 0; key < KEYS; key += 3)
        put(world, key, 5000 + key, 1000 * key + 8);
    assert_int_equal(stage_remove(stage, 4), 0);
    world->expect[4] = E_MISSING;
    for (unsigned i = 0; i < 2; i++) {
        stop(stage, i == 0);
        assert_int_equal(stage_open(stage), 0);
        stage_settle(stage);
        check(world, at);
    }
    memcpy(world->expect, before, sizeof before);
}

/* The device as it was left, but for this bit; opened, read, and killed. */
static void trial(struct world *world, uint64_t at, unsigned bit)
{
    struct stage *stage = &world->stage;
    bool on = ++world->trials % LIFE_GOES_ON == 0;
    alarm(TRIAL_SECONDS_MAX);
    medium(world)[at] ^= (uint8_t)(1u << bit);
    fake_disk_settle(stage->io, stage->config.devices[0].path);
    assert_int_equal(stage_open(stage), 0);
    stage_settle(stage);
    unsigned missing = check(world, at);
    if (missing > 0 && stage_stats(stage).corrupt == 0)
        fail_msg("byte %llu: %u missing, and not counted", (unsigned long long)at, missing);
    world->misses += missing;
    if (on)
        life_goes_on(world, at);
    stop(stage, false);
    memcpy(medium(world), world->image, on ? world->len : CHANGED_BY_OPEN);
    medium(world)[at] = world->image[at];
    alarm(0);
}

static void trial_all(struct world *world, uint64_t from, uint64_t len)
{
    for (uint64_t at = from; at < from + len; at++)
        trial(world, at, (unsigned)random_below(&world->random, 8));
}

/* ---- each structure ---- */

static void superblocks(struct world *world)
{
    for (unsigned copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
        trial_all(world, copy * SUPERBLOCK_BYTES, 136 + 16); /* to the first peer */
        trial(world, (copy + 1) * SUPERBLOCK_BYTES - 9, 0);
        trial_all(world, (copy + 1) * SUPERBLOCK_BYTES - 8, 8);
    }
}

/* Header, key, checksums, both ends of payload and padding. */
static void item(struct world *world, unsigned number)
{
    uint64_t place = world->items[number].place;
    uint32_t header_len = world->items[number].header_len, value_len = world->items[number].value_len;
    uint32_t meta =
        SEGMENT_HEADER_FIXED + world->items[number].key_len + 8 * segment_checksum_count(value_len);
    trial_all(world, place, meta);
    if (header_len > meta)
        trial(world, place + header_len - 1, 3);
    if (value_len == 0)
        return;
    trial(world, place + header_len, 0);
    trial(world, place + header_len + value_len / 2, 7);
    trial(world, place + header_len + value_len - 1, 5);
    trial(world, place + segment_item_len(world->items[number].key_len, value_len) - 1, 1);
}

/* Some first items of segments, some in the middle, some remove records, the last of all. */
static void items(struct world *world)
{
    unsigned firsts = 0, records = 0;
    for (unsigned i = 0; i < world->item_count; i++) {
        bool first = (world->items[i].place - world->super.data_offset) % world->super.segment_bytes == 0;
        bool record = world->items[i].value_len == 0;
        if ((first && firsts++ % 6 == 0) || (record && records++ % 6 == 0) || i % 90 == 45 ||
            i + 1 == world->item_count)
            item(world, i);
    }
}

static void tables(struct world *world)
{
    for (uint64_t end = world->super.data_offset + world->super.segment_bytes; end <= world->used;
         end += 6 * world->super.segment_bytes) {
        trial_all(world, end - SEGMENT_FOOTER_BYTES, SEGMENT_FOOTER_BYTES);
        trial_all(world, end - SEGMENT_FOOTER_BYTES - 2 * SEGMENT_ROW_BYTES, SEGMENT_ROW_BYTES);
    }
}

static void snapshot(struct world *world)
{
    uint64_t state = snapshot_state_bytes(world->super.segment_count, world->super.index_buckets);
    trial_all(world, world->super.snapshot_offset, SNAPSHOT_STATE_FIXED + 2 * 16);
    trial_all(
        world, world->super.snapshot_offset + SNAPSHOT_STATE_FIXED + world->super.segment_count * 16, 8);
    trial(world, world->super.snapshot_offset + state - 1, 0);
    for (uint64_t at = 0; at < world->super.index_buckets * 64; at += 197)
        trial(world, world->super.snapshot_offset + state + at, at % 8);
}

/* ---- bodies that look like items ---- */

static unsigned of_key(const struct world *world, uint64_t key)
{
    uint8_t buf[64];
    struct item_key wanted = stage_key(key, buf);
    for (unsigned i = world->item_count; i-- > 0;) {
        const uint8_t *at = world->image + world->items[i].place + SEGMENT_HEADER_FIXED;
        if (bytes_equal(bytes_of(at, world->items[i].key_len), wanted.bytes))
            return i;
    }
    fail();
    return 0;
}

/* Writes the whole item `from` to `place`, right for that place if `made` (which takes the device's seed),
 * else just as it lies elsewhere. Its length. */
static uint32_t copy_item(struct world *world, unsigned from, uint64_t place, uint64_t generation, bool made)
{
    const uint8_t *item_at = world->image + world->items[from].place;
    uint32_t len = segment_item_len(world->items[from].key_len, world->items[from].value_len);
    struct segment_item item;
    uint64_t sums[64];
    assert_int_equal(
        segment_item_decode(&item, bytes_of(item_at, len), world->super.hash_seed, world->items[from].place),
        0);
    memmove(world->image + place, item_at, len);
    if (!made)
        return len;
    uint8_t key[64];
    memcpy(key, item.key.ptr, item.key.len);
    memcpy(sums, item.checksums, 8 * (size_t)segment_checksum_count(item.value_len));
    item.key.ptr = key;
    item.generation = generation;
    segment_item_encode(&item, sums, world->super.hash_seed, place, world->image + place);
    return len;
}

/* Gives the large item `carrier` a payload of other items, wherever one could begin, and right checksums. */
static void forge(struct world *world, unsigned carrier, unsigned from, bool made)
{
    struct segment_item item;
    uint64_t place = world->items[carrier].place, sums[64];
    uint32_t header_len = world->items[carrier].header_len, value_len = world->items[carrier].value_len;
    uint8_t *at = world->image + place;
    assert_true(value_len >= SEGMENT_LARGE_BYTES);
    assert_int_equal(segment_item_decode(&item, bytes_of(at, header_len), world->super.hash_seed, place), 0);
    for (uint32_t offset = header_len; offset + SEGMENT_BLOCK <= header_len + value_len;)
        offset += segment_blocks_up(copy_item(world, from, place + offset, item.generation, made));
    for (uint32_t i = 0; i < segment_checksum_count(value_len); i++) {
        uint32_t left = value_len - i * SEGMENT_CHECKED_BYTES;
        sums[i] = segment_checksum(world->super.hash_seed, at + header_len + i * SEGMENT_CHECKED_BYTES,
            left < SEGMENT_CHECKED_BYTES ? left : SEGMENT_CHECKED_BYTES);
    }
    uint8_t key[64];
    memcpy(key, item.key.ptr, item.key.len);
    item.key.ptr = key;
    segment_item_encode(&item, sums, world->super.hash_seed, place, at);
}

static void same_bytes(void *context, int result, struct item *item)
{
    uint8_t **got = context;
    assert_int_equal(result, 0);
    *got = malloc(item_value_len(item));
    item_copy(item, 0, item_value_len(item), *got);
    item_unref(&item);
}

/* The last segment, without a table, ends with a large item whose body is full of a small one that was
 * removed: as it lay elsewhere on the device, then as only who knows the seed could make it. Opened by the
 * scan. */
static void bodies_that_look_like_items(void **state)
{
    (void)state;
    for (unsigned made = 0; made < 2; made++) {
        static struct world world;
        world_init(&world, false);
        unsigned carrier = of_key(&world, 2), small = of_key(&world, 7);
        assert_int_equal(world.expect[7], E_MISSING);
        assert_int_equal(world.items[small].value_len, 900);
        forge(&world, carrier, small, made);
        memcpy(medium(&world), world.image, world.len);
        fake_disk_settle(world.stage.io, world.stage.config.devices[0].path);
        assert_int_equal(stage_open(&world.stage), 0);
        stage_settle(&world.stage);
        for (unsigned key = 0; key < KEYS; key++)
            if (key != 2)
                assert_int_equal(stage_version(&world.stage, key), world.expect[key]);
        uint8_t buf[64], *got = NULL;
        disk_get(world.stage.disk, world.stage.loop, stage_key(2, buf), 0, UINT32_MAX, same_bytes, &got);
        for (unsigned turns = 0; got == NULL && turns < 1000; turns++)
            stage_turn(&world.stage);
        assert_non_null(got);
        assert_memory_equal(got, world.image + world.items[carrier].place + world.items[carrier].header_len,
            world.items[carrier].value_len);
        free(got);
        stop(&world.stage, false);
        /* Nor when the header of the one that carries it is gone for good, and the scan ends there. */
        memcpy(medium(&world), world.image, CHANGED_BY_OPEN);
        memset(medium(&world) + world.items[carrier].place, 0x55, 64);
        assert_int_equal(stage_open(&world.stage), 0);
        stage_settle(&world.stage);
        assert_int_equal(stage_version(&world.stage, 7), E_MISSING);
        stop(&world.stage, false);
        free(world.image);
        assert_int_equal(io_destroy(world.stage.io), 0);
    }
}

static void structures(bool clean)
{
    static struct world world;
    world_init(&world, clean);
    superblocks(&world);
    items(&world);
    tables(&world);
    if (clean)
        snapshot(&world);
    for (unsigned i = 0; i < random_bits / 2; i++)
        trial(&world, random_below(&world.random, world.used), (unsigned)random_below(&world.random, 8));
    world_deinit(&world);
}

static void after_a_clean_stop(void **state)
{
    (void)state;
    structures(true);
}

static void after_a_kill(void **state)
{
    (void)state;
    structures(false);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        random_bits = (unsigned)strtoul(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {cmocka_unit_test(after_a_clean_stop), cmocka_unit_test(after_a_kill),
        cmocka_unit_test(bodies_that_look_like_items)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
