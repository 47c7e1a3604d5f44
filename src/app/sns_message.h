/*
 * A message as SNS posts it to an HTTP endpoint, and what of it is signed. Pure, but for the JSON library and
 * base64 by OpenSSL.
 *
 * Source: Amazon SNS Developer Guide, "HTTP/HTTPS notification JSON format", "Verifying the signatures of
 * Amazon SNS messages". Signed are names and values, each followed by a line feed, in order of their names:
 * Message, MessageId, Subject (of a notification, where it has one), SubscribeURL and Token (of the other
 * two types), Timestamp, TopicArn, Type. Everything else in a message, the certificate's address and the
 * version of the signature too, is anybody's word.
 */
#pragma once

#include "base/arena.h"

#define SNS_SIGNATURE_MAX 1024
/* Arena bytes that a message may need, beside what is read out of it. */
#define SNS_ARENA_MAX(body_len) (2 * (body_len) + 8192)
/* How old and how far ahead of our clock a message may be: SNS repeats for up to an hour. */
#define SNS_AGE_MAX_S 3600
#define SNS_AHEAD_MAX_S 900

enum sns_type { SNS_NOTIFICATION, SNS_SUBSCRIBE, SNS_UNSUBSCRIBE };

/* In the arena. */
struct sns_message {
    enum sns_type type;
    unsigned version; /* of the signature: 1 or 2 */
    struct bytes text, topic, certificate_url;
    struct bytes subscribe_url; /* SNS_SUBSCRIBE, SNS_UNSUBSCRIBE */
    int64_t sent_s;             /* Timestamp, since 1970 */
    struct bytes signature;     /* decoded */
    struct bytes signed_text;
};

struct json_t;

/* Whether it says that it is one; then it is never taken for anything else. */
bool sns_message_is(const struct json_t *json);
/* NULL, or what is wrong with it (static); sns_no_memory: nothing. */
extern const char sns_no_memory[];
const char *sns_message_read(struct sns_message *message, struct arena *arena, const struct json_t *json);
/* Whether it is of about now. */
bool sns_message_is_fresh(const struct sns_message *message, int64_t now_s);
/* "2012-04-26T20:45:04.751Z" */
MUST_CHECK bool sns_timestamp_parse(struct bytes text, int64_t *seconds);
