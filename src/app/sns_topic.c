#include "app/sns_topic.h"

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower(uint8_t c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_letter(uint8_t c)
{
    return is_lower((uint8_t)(c | 0x20));
}

/* ---- topics ---- */

/* Up to the next ":", which is taken too; the rest where there is none. */
static struct bytes take_part(struct bytes *rest)
{
    const uint8_t *colon = rest->len ? memchr(rest->ptr, ':', rest->len) : NULL;
    struct bytes part = bytes_of(rest->ptr, colon ? (size_t)(colon - rest->ptr) : rest->len);
    *rest = bytes_from(*rest, part.len + (colon != NULL));
    return part;
}

static bool region_valid(struct bytes region)
{
    bool valid = region.len >= 3 && region.len <= 32 && is_lower(region.ptr[0]);
    for (size_t i = 0; i < region.len && valid; i++)
        valid = is_lower(region.ptr[i]) || is_digit(region.ptr[i]) ||
                (region.ptr[i] == '-' && i + 1 < region.len && region.ptr[i - 1] != '-');
    return valid;
}

static bool account_valid(struct bytes account)
{
    bool valid = account.len == 12;
    for (size_t i = 0; i < account.len && valid; i++)
        valid = is_digit(account.ptr[i]);
    return valid;
}

static bool name_valid(struct bytes name)
{
    bool valid = name.len > 0 && name.len <= 256;
    for (size_t i = 0; i < name.len && valid; i++) {
        uint8_t c = name.ptr[i];
        valid = is_letter(c) || is_digit(c) || c == '-' || c == '_' || c == '.';
    }
    return valid;
}

bool sns_topic_parse(struct bytes arn, struct sns_topic *topic)
{
    struct bytes rest = arn;
    bool arn_first = bytes_equal(take_part(&rest), BYTES("arn"));
    struct bytes partition = take_part(&rest);
    bool sns = bytes_equal(take_part(&rest), BYTES("sns"));
    struct bytes region = take_part(&rest), account = take_part(&rest);
    bool china = bytes_equal(partition, BYTES("aws-cn"));
    bool known = china || bytes_equal(partition, BYTES("aws")) || bytes_equal(partition, BYTES("aws-us-gov"));
    *topic = (struct sns_topic){
        .region = region, .suffix = china ? BYTES("amazonaws.com.cn") : BYTES("amazonaws.com")};
    return arn_first && sns && known && region_valid(region) && account_valid(account) && name_valid(rest);
}

/* ---- hosts and names ---- */

static struct bytes join(const struct sns_topic *topic, const char *before, struct bytes region,
    const char *between, char text[SNS_HOST_MAX])
{
    struct writer w = writer_of(text, SNS_HOST_MAX - 1);
    write_bytes(&w, bytes_of_string(before));
    write_bytes(&w, region);
    write_bytes(&w, bytes_of_string(between));
    write_bytes(&w, topic->suffix);
    CHECK(!w.failed);
    *w.at = 0;
    return writer_bytes(&w);
}

struct bytes sns_topic_host(const struct sns_topic *topic, char host[SNS_HOST_MAX])
{
    return join(topic, "sns.", topic->region, ".", host);
}

struct bytes sns_topic_signer(const struct sns_topic *topic, unsigned number, char name[SNS_HOST_MAX])
{
    switch (number) {
    case 0:
        return join(topic, "sns.", (struct bytes){0}, "", name);
    case 1:
        return sns_topic_host(topic, name);
    case 2:
        return join(topic, "sns-signing.", topic->region, ".", name);
    case 3:
        return join(topic, "sns-", topic->region, ".", name);
    case 4: /* of both regions of GovCloud; elsewhere the same as before */
        return join(topic, "sns-",
            bytes_start_with(topic->region, BYTES("us-gov-")) ? BYTES("us-gov-west-1") : topic->region, ".",
            name);
    default:
        UNREACHABLE();
    }
}

/* ---- addresses ---- */

static bool certificate_path_valid(struct bytes path)
{
    struct bytes end = BYTES(".pem");
    bool valid = path.len > end.len + 1 && bytes_equal(bytes_from(path, path.len - end.len), end);
    for (size_t i = 0; i < path.len && valid; i++) {
        uint8_t c = path.ptr[i];
        valid = is_letter(c) || is_digit(c) || c == '-' || c == '_' || c == '/' ||
                (c == '.' && path.ptr[i - 1] != '.' && path.ptr[i - 1] != '/');
    }
    return valid;
}

static bool subscribe_target_valid(struct bytes target)
{
    bool valid = bytes_start_with(target, BYTES("/?Action=ConfirmSubscription&"));
    for (size_t i = 0; i < target.len && valid; i++) {
        uint8_t c = target.ptr[i];
        valid = c > ' ' && c < 0x7f && c != '#' && c != '\\' && c != '"' && c != '<' && c != '>';
    }
    return valid;
}

bool sns_url_parse(struct bytes url, enum sns_url kind, const struct sns_topic *topic, struct bytes *target)
{
    char text[SNS_HOST_MAX];
    struct bytes scheme = BYTES("https://"), port = BYTES(":443"), host = sns_topic_host(topic, text);
    if (url.len > SNS_URL_MAX || !bytes_start_with(url, scheme))
        return false;
    struct bytes rest = bytes_from(url, scheme.len);
    if (!bytes_start_with(rest, host))
        return false;
    rest = bytes_from(rest, host.len);
    if (bytes_start_with(rest, port))
        rest = bytes_from(rest, port.len);
    if (rest.len == 0 || rest.ptr[0] != '/')
        return false;
    *target = rest;
    return kind == SNS_URL_CERTIFICATE ? certificate_path_valid(rest) : subscribe_target_valid(rest);
}
