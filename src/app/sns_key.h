/*
 * The key that SNS signs with: out of a certificate, once that is believed, and what a signature is worth.
 * OpenSSL's libcrypto, which the origin's TLS brings along. No I/O, time is an argument.
 *
 * A certificate is believed when its chain ends in the system's store of roots (never in itself), it is of
 * now, is no authority's, holds an RSA key of 2,048 bits or more, and names SNS of the topic's region
 * (sns_topic.h). Amazon serves it without the authority between: those four are in sns_intermediates.c, more
 * can come from a file. They are no anchors: what they sign counts only below a root of the system.
 *
 * Rejected: to fetch the authority from the address in the certificate, as browsers do, since nothing is
 * fetched but from SNS hosts over https. To do without the chain, as Amazon's own SDKs do: the page was
 * fetched over verified TLS, but then it alone would stand between a stranger and everything cached.
 *
 *           | born by          | owned by       | dies by           | threads
 * sns_trust | sns_trust_create | sns            | sns_trust_destroy | one at a time
 * sns_key   | sns_key_read     | sns, its cache | sns_key_destroy   | one at a time
 */
#pragma once

#include "app/sns_topic.h"

struct sns_trust;
struct sns_key;

/* `anchors`: roots in PEM (a test's), NULL: the system's, read now. -ENOMEM; E_SYNTAX: no certificate in
 * it. */
MUST_CHECK int sns_trust_create(struct sns_trust **trust, const char *anchors);
/* More certificates that may stand between, in PEM. -ENOMEM, E_SYNTAX. */
MUST_CHECK int sns_trust_add(struct sns_trust *trust, struct bytes pem);
void sns_trust_destroy(struct sns_trust *trust);

/* A certificate in PEM, perhaps with those between behind it. NULL, or why it is not believed (until the next
 * call). */
const char *sns_key_read(struct sns_key **key, struct sns_trust *trust, const struct sns_topic *topic,
    struct bytes pem, int64_t now_s);
/* Its certificate ends. */
int64_t sns_key_expires_s(const struct sns_key *key);
/* PKCS#1 1.5 over SHA-1 (version 1) or SHA-256 (version 2). */
MUST_CHECK bool sns_key_verifies(
    const struct sns_key *key, unsigned version, struct bytes text, struct bytes signature);
void sns_key_destroy(struct sns_key *key);
