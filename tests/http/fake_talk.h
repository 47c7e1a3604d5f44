/*
 * One client's conversation with a whole server, over the fake driver: everything that takes time takes a
 * random time, transfers are shortened at random, all of it ruled by the seed. What the client gets may not
 * depend on it.
 *
 * The target says what the handler does, by its last digit: a reply of known length in pieces, of unknown
 * length, a late one, an empty one, a cut one; the number before it is the length.
 */
#pragma once

#include "base/bytes.h"

struct talk {
    uint64_t seed;
    uint64_t
        reset_ns; /* the client resets the connection then; 0: it half-closes after its last byte and waits */
    bool stop;    /* and the server is stopped then, instead */
};

/* What the client got, from malloc, with Date fields masked and without 100 Continue. CHECKs that each
 * request was finished, that the server drains and that nothing leaks. */
struct bytes fake_talk(const struct talk *talk, struct bytes input);
