/*
 * One table of our own result codes. A result is 0 or more for success; below 0 it is -errno for what the
 * system said, or one of these. They lie far outside errno's range, so that the two never meet.
 */
#pragma once

#define ERROR_TABLE(X)                                                                                       \
    X(E_EXHAUSTED, -5001, "a pool, queue or table is full")                                                  \
    X(E_TIMEOUT, -5002, "the deadline passed")                                                               \
    X(E_CANCELED, -5003, "cancelled")                                                                        \
    X(E_CORRUPT, -5004, "stored bytes fail their check")                                                     \
    X(E_MISSING, -5005, "not there")                                                                         \
    X(E_SYNTAX, -5006, "malformed")                                                                          \
    X(E_TOO_LARGE, -5007, "larger than its limit")                                                           \
    X(E_PROTOCOL, -5008, "the peer broke its protocol")                                                      \
    X(E_TRUNCATED, -5009, "ended before its promised length")                                                \
    X(E_CHANGED, -5010, "the object changed meanwhile")                                                      \
    X(E_UNSUPPORTED, -5011, "not available here")                                                            \
    X(E_REFUSED, -5012, "not allowed")                                                                       \
    X(E_FOREIGN, -5013, "not ours or of another format")                                                     \
    X(E_UNREACHABLE, -5014, "no connection")                                                                 \
    X(E_TLS, -5015, "the TLS peer could not be verified")                                                    \
    X(E_LOST, -5016, "a part of it is stored no more")

enum error {
#define X(name, value, text) name = value,
    ERROR_TABLE(X)
#undef X
};

/* Text for any result below 0, of either kind; static or thread-local storage, never NULL. */
const char *error_text(int error);
