#include "app/sns_message.h"

#include <time.h>

#include <jansson.h>
#include <openssl/evp.h>

const char sns_no_memory[] = "out of memory";

static struct bytes text_at(const json_t *json, const char *name)
{
    const json_t *value = json_object_get(json, name);
    return json_is_string(value) ? bytes_of(json_string_value(value), json_string_length(value))
                                 : (struct bytes){0};
}

bool sns_message_is(const json_t *json)
{
    return json_object_get(json, "Type") != NULL && json_object_get(json, "TopicArn") != NULL;
}

/* ---- time ---- */

static bool take_number(
    struct bytes *rest, unsigned digits, unsigned min, unsigned max, uint8_t end, int *value)
{
    uint64_t number = 0;
    if (rest->len <= digits || rest->ptr[digits] != end ||
        !bytes_to_u64(bytes_of(rest->ptr, digits), &number) || number < min || number > max)
        return false;
    *value = (int)number;
    *rest = bytes_from(*rest, digits + 1);
    return true;
}

/* ".751Z" or nothing, after the seconds. */
static bool is_fraction(struct bytes text)
{
    uint64_t digits;
    return text.len == 0 || (text.len >= 2 && text.len <= 10 && text.ptr[text.len - 1] == 'Z' &&
                                bytes_to_u64(bytes_of(text.ptr, text.len - 1), &digits));
}

bool sns_timestamp_parse(struct bytes text, int64_t *seconds)
{
    struct tm tm = {0};
    struct bytes rest = text;
    if (!take_number(&rest, 4, 1970, 9999, '-', &tm.tm_year) ||
        !take_number(&rest, 2, 1, 12, '-', &tm.tm_mon) || !take_number(&rest, 2, 1, 31, 'T', &tm.tm_mday) ||
        !take_number(&rest, 2, 0, 23, ':', &tm.tm_hour) || !take_number(&rest, 2, 0, 59, ':', &tm.tm_min))
        return false;
    if (!take_number(&rest, 2, 0, 59, 'Z', &tm.tm_sec) && !take_number(&rest, 2, 0, 59, '.', &tm.tm_sec))
        return false;
    bool whole = text.len == sizeof "2012-04-26T20:45:04Z" - 1;
    int day = tm.tm_mday;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *seconds = (int64_t)timegm(&tm);
    return tm.tm_mday == day && (whole || rest.len > 0) && is_fraction(rest);
}

bool sns_message_is_fresh(const struct sns_message *message, int64_t now_s)
{
    return message->sent_s >= now_s - SNS_AGE_MAX_S && message->sent_s <= now_s + SNS_AHEAD_MAX_S;
}

/* ---- what is signed ---- */

static const char *const signed_of_notification[] = {
    "Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type", NULL};
static const char *const signed_of_others[] = {
    "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type", NULL};

static const char *write_signed(
    struct sns_message *message, struct arena *arena, const json_t *json, const char *const *names)
{
    size_t len = 0;
    for (unsigned i = 0; names[i]; i++)
        len += strlen(names[i]) + text_at(json, names[i]).len + 2;
    uint8_t *text = arena_take(arena, len);
    if (text == NULL)
        return sns_no_memory;
    struct writer w = writer_of(text, len);
    for (unsigned i = 0; names[i]; i++) {
        const json_t *value = json_object_get(json, names[i]);
        if (value == NULL && strcmp(names[i], "Subject") == 0)
            continue;
        if (json_is_null(value) && strcmp(names[i], "Subject") == 0)
            continue;
        if (!json_is_string(value))
            return "a member of the SNS message is missing or no text";
        write_bytes(&w, bytes_of_string(names[i]));
        write_u8(&w, '\n');
        write_bytes(&w, text_at(json, names[i]));
        write_u8(&w, '\n');
    }
    CHECK(!w.failed);
    message->signed_text = writer_bytes(&w);
    return NULL;
}

/* ---- the rest ---- */

static const char *read_type(struct sns_message *message, struct bytes type)
{
    if (bytes_equal(type, BYTES("Notification")))
        message->type = SNS_NOTIFICATION;
    else if (bytes_equal(type, BYTES("SubscriptionConfirmation")))
        message->type = SNS_SUBSCRIBE;
    else if (bytes_equal(type, BYTES("UnsubscribeConfirmation")))
        message->type = SNS_UNSUBSCRIBE;
    else
        return "the SNS message's \"Type\" is unknown";
    return NULL;
}

static const char *read_signature(struct sns_message *message, struct arena *arena, const json_t *json)
{
    struct bytes version = text_at(json, "SignatureVersion"), text = text_at(json, "Signature");
    message->version = bytes_equal(version, BYTES("1")) ? 1 : bytes_equal(version, BYTES("2")) ? 2 : 0;
    if (message->version == 0)
        return "the SNS message's \"SignatureVersion\" is not 1 or 2";
    if (text.len < 4 || text.len % 4 != 0 || text.len > SNS_SIGNATURE_MAX)
        return "the SNS message's \"Signature\" is not base64";
    uint8_t *decoded = arena_take(arena, text.len);
    if (decoded == NULL)
        return sns_no_memory;
    int len = EVP_DecodeBlock(decoded, text.ptr, (int)text.len);
    int padding = (text.ptr[text.len - 1] == '=') + (text.ptr[text.len - 2] == '=');
    if (len <= padding)
        return "the SNS message's \"Signature\" is not base64";
    message->signature = bytes_of(decoded, (size_t)(len - padding));
    return NULL;
}

static bool copy(struct arena *arena, struct bytes *to, struct bytes from)
{
    *to = from.len ? arena_copy(arena, from) : (struct bytes){0};
    return from.len == 0 || to->ptr != NULL;
}

const char *sns_message_read(struct sns_message *message, struct arena *arena, const json_t *json)
{
    *message = (struct sns_message){0};
    const char *why = read_type(message, text_at(json, "Type"));
    if (why == NULL)
        why = read_signature(message, arena, json);
    if (why == NULL)
        why = write_signed(message, arena, json,
            message->type == SNS_NOTIFICATION ? signed_of_notification : signed_of_others);
    if (why)
        return why;
    if (!sns_timestamp_parse(text_at(json, "Timestamp"), &message->sent_s))
        return "the SNS message's \"Timestamp\" is malformed";
    bool copied = copy(arena, &message->text, text_at(json, "Message")) &&
                  copy(arena, &message->topic, text_at(json, "TopicArn")) &&
                  copy(arena, &message->certificate_url, text_at(json, "SigningCertURL")) &&
                  copy(arena, &message->subscribe_url, text_at(json, "SubscribeURL"));
    return copied ? NULL : sns_no_memory;
}
