/*
 * Names of SNS topics, and the addresses that a message from one may name. Pure.
 *
 * A message says where its signing certificate lies and which address confirms a subscription. Both are
 * fetched, so both are held against what they can only be: https, the SNS host of the topic's own region
 * (sns.REGION.amazonaws.com, in China .amazonaws.com.cn) letter for letter, port 443, a certificate's path
 * that ends in .pem, a subscription's query of ConfirmSubscription. What could be read in two ways (userinfo,
 * a backslash, a fragment, dots, an escaped letter in a certificate's path) is refused, never repaired.
 *
 * Rejected: any host below amazonaws.com, as some verifiers allow: buckets of strangers have names there.
 */
#pragma once

#include "base/bytes.h"

#define SNS_HOST_MAX 128
#define SNS_URL_MAX 2048

struct sns_topic {
    struct bytes region, suffix; /* of the host; the first lies in the ARN */
};

/* arn:aws:sns:REGION:ACCOUNT:NAME, also of the partitions aws-cn and aws-us-gov. */
MUST_CHECK bool sns_topic_parse(struct bytes arn, struct sns_topic *topic);
/* "sns.REGION.SUFFIX" */
struct bytes sns_topic_host(const struct sns_topic *topic, char host[SNS_HOST_MAX]);
/* Whether a certificate for this number's name may sign for the topic: SNS_NAMES from 0 on. By AWS's SDK for
 * Java: sns.amazonaws.com in most regions, sns-signing.REGION in newer ones, sns-REGION in China and
 * GovCloud, where both regions have us-gov-west-1's. */
#define SNS_NAMES 5
struct bytes sns_topic_signer(const struct sns_topic *topic, unsigned number, char name[SNS_HOST_MAX]);

enum sns_url { SNS_URL_CERTIFICATE, SNS_URL_SUBSCRIBE };
/* The request target ("/..."), in the URL; false where it is no such address. */
MUST_CHECK bool sns_url_parse(
    struct bytes url, enum sns_url kind, const struct sns_topic *topic, struct bytes *target);
