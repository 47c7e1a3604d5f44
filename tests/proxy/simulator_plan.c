/* What the seed decides about the settings of a run. */
#include "base/clock.h"
#include "simulator.h"

static uint64_t one_of(struct random *random, const uint64_t *values, size_t count)
{
    return values[random_below(random, count)];
}

#define ONE_OF(...)                                                                                          \
    one_of(                                                                                                  \
        random, (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static bool one_in(struct random *random, unsigned n)
{
    return random_below(random, n) == 0;
}

static void draw_settings(struct plan *plan, struct random *random)
{
    plan->chunk_bytes = (uint32_t)ONE_OF(16384, 65536, 65536, 262144);
    plan->ttl_s = (unsigned)ONE_OF(1, 5, 20, 60, 600);
    plan->stale_s = one_in(random, 2) ? (unsigned)ONE_OF(3, 30) : 0;
    plan->missing_s = one_in(random, 2) ? (unsigned)ONE_OF(1, 10) : 0;
    plan->memory_is_small = one_in(random, 2);
    plan->memory_bytes = plan->memory_is_small ? 8u << 20 : 64u << 20;
    plan->memory = !plan->disk || !one_in(random, 4);
    plan->memory_item_bytes = one_in(random, 4) ? ONE_OF(65536, 300000) : UINT64_MAX;
    plan->max_item_bytes = one_in(random, 8) ? 500000 : UINT64_MAX;
    plan->max_concurrent = one_in(random, 8) ? 4 : 1000;
    plan->ending = (enum ending)random_below(random, plan->disk ? 4 : 2);
    plan->requests = (unsigned)(60 + random_below(random, 200));
}

/* Nothing is in the way: what is counted must be exact. */
static void calm_down(struct plan *plan)
{
    plan->cached = plan->memory = true;
    plan->disk_faults = plan->memory_is_small = false;
    plan->memory_bytes = 64u << 20;
    plan->memory_item_bytes = plan->max_item_bytes = UINT64_MAX;
    plan->max_concurrent = 1000;
    plan->ttl_s = 100000;
    plan->ending = END_DRAIN;
}

void plan_draw(struct plan *plan, struct random *random)
{
    *plan = (struct plan){
        .calm = one_in(random, 4),
        .cached = !one_in(random, 8),
        .disk = one_in(random, 2),
        .clients = 1 + (unsigned)random_below(random, CLIENTS),
        .origin = {.latency_ns = random_below(random, 50) * NS_PER_MS,
            .interval_ns = random_below(random, 3) * NS_PER_MS,
            .piece_bytes = 1000 + random_below(random, 100000)},
        .network = {.delay_max_ns = 1 + random_below(random, 2 * NS_PER_MS),
            .pipe_bytes = (size_t)1 << (12 + random_below(random, 7))},
    };
    plan->lives = plan->disk ? 1 + (unsigned)random_below(random, 3) : 1;
    plan->disk_bytes = ONE_OF(40u << 20, 64u << 20, 128u << 20);
    plan->disk_faults = plan->disk && one_in(random, 2);
    draw_settings(plan, random);
    if (plan->calm)
        calm_down(plan);
}

void plan_change(struct plan *plan, struct random *random)
{
    draw_settings(plan, random);
    if (one_in(random, 4))
        plan->disk_bytes = ONE_OF(40u << 20, 64u << 20, 128u << 20);
    if (plan->calm)
        calm_down(plan);
}
