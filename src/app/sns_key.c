#include "app/sns_key.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "app/sns_intermediates.h"
#include "base/error.h"

#define RSA_BITS_MIN 2048

struct sns_trust {
    X509_STORE *anchors;
    STACK_OF(X509) * between;
};

struct sns_key {
    EVP_PKEY *key;
    int64_t expires_s;
};

/* ---- PEM ---- */

/* All certificates of the text; below 0, or how many. The list keeps what was read before an error. */
static int read_all(STACK_OF(X509) * to, struct bytes pem)
{
    BIO *bio = pem.len <= INT_MAX ? BIO_new_mem_buf(pem.ptr, (int)pem.len) : NULL;
    int count = 0, result = bio ? 0 : -ENOMEM;
    X509 *cert;
    while (result == 0 && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (sk_X509_push(to, cert) > 0) {
            count++;
            continue;
        }
        X509_free(cert);
        result = -ENOMEM;
    }
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    BIO_free(bio);
    return result < 0 ? result : at_end && count > 0 ? count : E_SYNTAX;
}

/* ---- trust ---- */

static int add_anchors(X509_STORE *store, const char *pem)
{
    STACK_OF(X509) *roots = sk_X509_new_null();
    int result = roots ? read_all(roots, bytes_of_string(pem)) : -ENOMEM;
    for (int i = 0; result >= 0 && i < sk_X509_num(roots); i++)
        if (X509_STORE_add_cert(store, sk_X509_value(roots, i)) != 1)
            result = -ENOMEM;
    sk_X509_pop_free(roots, X509_free);
    return result < 0 ? result : 0;
}

int sns_trust_create(struct sns_trust **trust_out, const char *anchors)
{
    struct sns_trust *trust = calloc(1, sizeof *trust);
    if (trust == NULL)
        return -ENOMEM;
    trust->anchors = X509_STORE_new();
    trust->between = sk_X509_new_null();
    int result = trust->anchors && trust->between ? 0 : -ENOMEM;
    if (result == 0 && anchors)
        result = add_anchors(trust->anchors, anchors);
    else if (result == 0 && X509_STORE_set_default_paths(trust->anchors) != 1)
        result = -ENOMEM;
    if (result == 0)
        result = sns_trust_add(trust, bytes_of_string(sns_intermediates));
    ERR_clear_error();
    if (result < 0) {
        sns_trust_destroy(trust);
        return result;
    }
    *trust_out = trust;
    return 0;
}

int sns_trust_add(struct sns_trust *trust, struct bytes pem)
{
    int result = read_all(trust->between, pem);
    return result < 0 ? result : 0;
}

void sns_trust_destroy(struct sns_trust *trust)
{
    if (trust == NULL)
        return;
    X509_STORE_free(trust->anchors);
    sk_X509_pop_free(trust->between, X509_free);
    free(trust);
}

/* ---- certificates ---- */

/* The first of `certs` by the others, by what is known, by the anchors. */
static const char *check_chain(struct sns_trust *trust, STACK_OF(X509) * certs, int64_t now_s)
{
    STACK_OF(X509) *between = sk_X509_dup(trust->between);
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    const char *why = "out of memory";
    bool ready = between && ctx;
    for (int i = 1; ready && i < sk_X509_num(certs); i++)
        ready = sk_X509_push(between, sk_X509_value(certs, i)) > 0;
    if (ready && X509_STORE_CTX_init(ctx, trust->anchors, sk_X509_value(certs, 0), between) == 1) {
        X509_STORE_CTX_set_time(ctx, 0, (time_t)now_s);
        why =
            X509_verify_cert(ctx) == 1 ? NULL : X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx));
    }
    X509_STORE_CTX_free(ctx);
    sk_X509_free(between);
    return why;
}

static const char *check_leaf(X509 *cert, const struct sns_topic *topic)
{
    EVP_PKEY *key = X509_get0_pubkey(cert);
    if (key == NULL || EVP_PKEY_base_id(key) != EVP_PKEY_RSA || EVP_PKEY_bits(key) < RSA_BITS_MIN)
        return "its key is not RSA of 2,048 bits or more";
    if (X509_check_ca(cert) != 0)
        return "it is an authority's";
    for (unsigned i = 0; i < SNS_NAMES; i++) {
        char text[SNS_HOST_MAX];
        struct bytes name = sns_topic_signer(topic, i, text);
        if (X509_check_host(cert, (const char *)name.ptr, name.len, X509_CHECK_FLAG_NO_WILDCARDS, NULL) == 1)
            return NULL;
    }
    return "it does not name SNS of the topic's region";
}

static const char *take_key(struct sns_key **key_out, X509 *cert)
{
    struct tm end;
    struct sns_key *key = calloc(1, sizeof *key);
    if (key == NULL)
        return "out of memory";
    key->key = X509_get_pubkey(cert);
    if (key->key == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(cert), &end) != 1) {
        sns_key_destroy(key);
        return "its key or its end is malformed";
    }
    key->expires_s = (int64_t)timegm(&end);
    *key_out = key;
    return NULL;
}

const char *sns_key_read(struct sns_key **key, struct sns_trust *trust, const struct sns_topic *topic,
    struct bytes pem, int64_t now_s)
{
    STACK_OF(X509) *certs = sk_X509_new_null();
    const char *why = certs && read_all(certs, pem) > 0 ? NULL : "it is no certificate in PEM";
    if (why == NULL)
        why = check_leaf(sk_X509_value(certs, 0), topic);
    if (why == NULL)
        why = check_chain(trust, certs, now_s);
    if (why == NULL)
        why = take_key(key, sk_X509_value(certs, 0));
    sk_X509_pop_free(certs, X509_free);
    ERR_clear_error();
    return why;
}

int64_t sns_key_expires_s(const struct sns_key *key)
{
    return key->expires_s;
}

bool sns_key_verifies(const struct sns_key *key, unsigned version, struct bytes text, struct bytes signature)
{
    CHECK(version == 1 || version == 2);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good =
        ctx &&
        EVP_DigestVerifyInit(ctx, NULL, version == 1 ? EVP_sha1() : EVP_sha256(), NULL, key->key) == 1 &&
        EVP_DigestVerify(ctx, signature.ptr, signature.len, text.ptr, text.len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return good;
}

void sns_key_destroy(struct sns_key *key)
{
    if (key)
        EVP_PKEY_free(key->key);
    free(key);
}
