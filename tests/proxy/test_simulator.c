/* Runs the simulator; see simulator.h. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "simulator.h"

/* In place of base/random.c's, by the linker: identifiers and hash seeds, too, come from the seed. */
void __wrap_random_os(void *buf, size_t len);
static struct random identifiers;

void __wrap_random_os(void *buf, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)buf)[i] = (uint8_t)random_next(&identifiers);
}

static void simulate(struct world *world, uint64_t seed)
{
    bool tracing = world->tracing;
    memset(world, 0, offsetof(struct world, clients));
    world->tracing = tracing;
    world->seed = seed;
    world->wall_ns = UINT64_C(1800000000) * NS_PER_S;
    world->digest = UINT64_C(0xcbf29ce484222325);
    world->tally = (struct tally){0};
    random_init(&world->random, seed);
    random_init(&identifiers, seed + 1);
    plan_draw(&world->plan, &world->random);
    objects_make(world);
    for (world->life = 0; world->life < world->plan.lives; world->life++) {
        if (world->life > 0)
            plan_change(&world->plan, &world->random);
        world_live(world);
    }
    if (world->disk_between)
        fake_disk_destroy(world->disk_between);
}

static void add(struct tally *sum, const struct tally *tally)
{
    uint64_t *to = (uint64_t *)sum;
    for (size_t i = 0; i < sizeof *tally / sizeof *to; i++)
        to[i] += ((const uint64_t *)tally)[i];
}

static void print(const struct tally *t)
{
    printf("%llu whole, %llu cut, %llu left by clients, %llu errors (%llu in time-outs)\n"
           "%llu hits, %llu partial, %llu reads from disk, %llu x 304, %llu x 412, %llu x 416, %llu x 206, "
           "%llu of several ranges, %llu chunked\n",
        (unsigned long long)t->whole, (unsigned long long)t->cut, (unsigned long long)t->aborted,
        (unsigned long long)t->errors, (unsigned long long)t->timeouts, (unsigned long long)t->hits,
        (unsigned long long)t->partial, (unsigned long long)t->disk_hits, (unsigned long long)t->not_modified,
        (unsigned long long)t->failed_conditions, (unsigned long long)t->unsatisfiable,
        (unsigned long long)t->ranges, (unsigned long long)t->multipart, (unsigned long long)t->chunked);
}

int main(int argc, char **argv)
{
    static struct world world;
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    const char *mode = argc > 2 ? argv[2] : "1";
    world.tracing = strcmp(mode, "trace") == 0;
    uint64_t count = strtoull(mode, NULL, 10);
    struct tally sum = {0};
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(mode, "twice") == 0) {
        simulate(&world, seed);
        uint64_t digest = world.digest;
        simulate(&world, seed);
        CHECK(world.digest == digest); /* else a failing seed would be no bug report */
    }
    for (uint64_t i = 0; i < (count ? count : 1); i++) {
        simulate(&world, seed + i);
        add(&sum, &world.tally);
    }
    print(&sum);
    return sum.whole == 0;
}
