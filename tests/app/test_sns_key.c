/* Which certificates are believed, by a test's own authority and by Amazon's, and what signatures are worth.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/sns_intermediates.h"
#include "app/sns_key.h"
#include "authority.h"
#include "base/error.h"
#include "io/blocking.h"

#define NOW 1790000000
#define DAY 86400
#define NAME "sns.us-west-2.amazonaws.com"

static struct signer root, between, stranger, leaf;
static struct sns_topic topic;

static struct signer made(const char *name, const struct signer *by, bool authority, EVP_PKEY *key)
{
    return signer_make(&(struct certificate_wish){.name = name,
        .by = by,
        .begin_s = NOW - DAY,
        .end_s = NOW + DAY,
        .authority = authority,
        .elliptic = authority,
        .key = key});
}

static int setup(void **state)
{
    (void)state;
    root = made("Test Root", NULL, true, NULL);
    between = made("Test Between", &root, true, NULL);
    stranger = made("Stranger", NULL, true, NULL);
    leaf = made(NAME, &root, false, NULL);
    return sns_topic_parse(BYTES("arn:aws:sns:us-west-2:123456789012:t"), &topic) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    signer_free(&root);
    signer_free(&between);
    signer_free(&stranger);
    signer_free(&leaf);
    return 0;
}

static struct sns_trust *trust_of(const struct signer *anchor)
{
    char pem[4096] = "";
    struct sns_trust *trust;
    signer_pem(anchor, pem);
    assert_int_equal(sns_trust_create(&trust, pem), 0);
    return trust;
}

static const char *read_key(struct sns_trust *trust, const char *pem, int64_t now_s)
{
    struct sns_key *key = NULL;
    const char *why = sns_key_read(&key, trust, &topic, bytes_of_string(pem), now_s);
    assert_int_equal(why == NULL, key != NULL);
    sns_key_destroy(key);
    return why;
}

static void wishes(void **state)
{
    (void)state;
    const struct {
        const char *what;
        struct certificate_wish wish;
        bool believed;
    } cases[] = {
        {"as Amazon's", {.name = NAME, .by = &root}, true},
        {"the common name", {.name = "sns.amazonaws.com", .by = &root, .no_names = true}, true},
        {"of newer regions", {.name = "sns-signing.us-west-2.amazonaws.com", .by = &root}, true},
        {"another region", {.name = "sns.us-east-1.amazonaws.com", .by = &root}, false},
        {"another service", {.name = "sqs.us-west-2.amazonaws.com", .by = &root}, false},
        {"a wildcard", {.name = "*.us-west-2.amazonaws.com", .by = &root}, false},
        {"a longer name", {.name = NAME ".evil.example", .by = &root}, false},
        {"a stranger's", {.name = NAME, .by = &stranger}, false},
        {"its own", {.name = NAME}, false},
        {"not yet", {.name = NAME, .by = &root, .begin_s = NOW + 10}, false},
        {"no more", {.name = NAME, .by = &root, .end_s = NOW - 10}, false},
        {"an authority's", {.name = NAME, .by = &root, .authority = true}, false},
        {"another kind of key", {.name = NAME, .by = &root, .elliptic = true}, false},
        {"a short key", {.name = NAME, .by = &root, .rsa_bits = 1024}, false},
        {"by a leaf", {.name = NAME, .by = &leaf}, false},
    };
    struct sns_trust *trust = trust_of(&root);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct certificate_wish wish = cases[i].wish;
        char pem[8192] = "";
        wish.begin_s = wish.begin_s ? wish.begin_s : NOW - DAY;
        wish.end_s = wish.end_s ? wish.end_s : NOW + DAY;
        wish.key = wish.elliptic || wish.rsa_bits ? NULL : leaf.key;
        struct signer signer = signer_make(&wish);
        signer_pem(&signer, pem);
        if (wish.by == &leaf)
            signer_pem(&leaf, pem);
        const char *why = read_key(trust, pem, NOW);
        if ((why == NULL) != cases[i].believed)
            fail_msg("%s: %s", cases[i].what, why ? why : "believed");
        signer_free(&signer);
    }
    sns_trust_destroy(trust);
}

/* What stands between comes with the certificate or from a file, and is never an anchor itself. */
static void between_them(void **state)
{
    (void)state;
    char alone[8192] = "", both[8192] = "", more[4096] = "";
    struct signer signer = made(NAME, &between, false, leaf.key);
    struct sns_trust *trust = trust_of(&root), *other = trust_of(&stranger);
    signer_pem(&signer, alone);
    signer_pem(&signer, both);
    signer_pem(&between, both);
    signer_pem(&between, more);
    assert_non_null(read_key(trust, alone, NOW));
    assert_null(read_key(trust, both, NOW));
    assert_non_null(read_key(other, both, NOW));
    assert_int_equal(sns_trust_add(trust, bytes_of_string(more)), 0);
    assert_int_equal(sns_trust_add(other, bytes_of_string(more)), 0);
    assert_null(read_key(trust, alone, NOW));
    assert_non_null(read_key(trust, alone, NOW + 2 * DAY));
    assert_non_null(read_key(other, alone, NOW));
    signer_free(&signer);
    sns_trust_destroy(trust);
    sns_trust_destroy(other);
}

static void no_certificates(void **state)
{
    (void)state;
    struct sns_trust *trust = trust_of(&root);
    char pem[8192] = "", half[8192] = "";
    signer_key_pem(&leaf, pem);
    signer_pem(&leaf, half);
    half[strlen(half) / 2] = 0;
    const char *const cases[] = {"", "hello", "-----BEGIN CERTIFICATE-----\n", pem, half,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_non_null(read_key(trust, cases[i], NOW));
        assert_int_equal(sns_trust_add(trust, bytes_of_string(cases[i])), E_SYNTAX);
    }
    sns_trust_destroy(trust);
    assert_int_equal(sns_trust_create(&trust, "nothing"), E_SYNTAX);
}

static void signatures(void **state)
{
    (void)state;
    struct sns_trust *trust = trust_of(&root);
    struct sns_key *key;
    char pem[4096] = "";
    uint8_t signature[512];
    struct signer other = made(NAME, &root, false, NULL);
    signer_pem(&leaf, pem);
    assert_null(sns_key_read(&key, trust, &topic, bytes_of_string(pem), NOW));
    assert_int_equal(sns_key_expires_s(key), NOW + DAY);
    for (unsigned version = 1; version <= 2; version++) {
        struct bytes good = bytes_of(signature, signer_sign(&leaf, version, "Message\nm\n", signature));
        assert_true(sns_key_verifies(key, version, BYTES("Message\nm\n"), good));
        assert_false(sns_key_verifies(key, 3 - version, BYTES("Message\nm\n"), good));
        assert_false(sns_key_verifies(key, version, BYTES("Message\nn\n"), good));
        assert_false(sns_key_verifies(key, version, BYTES("Message\nm"), good));
        assert_false(sns_key_verifies(key, version, BYTES(""), good));
        assert_false(
            sns_key_verifies(key, version, BYTES("Message\nm\n"), bytes_of(signature, good.len - 1)));
        assert_false(sns_key_verifies(key, version, BYTES("Message\nm\n"), BYTES("x")));
        for (unsigned bit = 0; bit < 8 * good.len; bit += 97) {
            signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_false(sns_key_verifies(key, version, BYTES("Message\nm\n"), good));
            signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        struct bytes others = bytes_of(signature, signer_sign(&other, version, "Message\nm\n", signature));
        assert_false(sns_key_verifies(key, version, BYTES("Message\nm\n"), others));
    }
    signer_free(&other);
    sns_key_destroy(key);
    sns_trust_destroy(trust);
}

/* What is built in is Amazon's: each is signed by its root. */
static void built_in(void **state)
{
    (void)state;
    unsigned count = 0;
    FILE *file = fopen(SOURCE_ROOT "/tests/app/certificates/amazon-root-ca-1.pem", "r");
    X509 *anchor = file ? PEM_read_X509(file, NULL, NULL, NULL) : NULL, *cert;
    assert_non_null(anchor);
    (void)fclose(file);
    BIO *bio = BIO_new_mem_buf(sns_intermediates, -1);
    for (; (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL; count++) {
        assert_int_equal(X509_verify(cert, X509_get0_pubkey(anchor)), 1);
        X509_free(cert);
    }
    assert_int_equal(count, 4);
    BIO_free(bio);
    X509_free(anchor);
}

/* A certificate that SNS signs with, of af-south-1 in 2026, which comes alone: by Amazon's root and what is
 * built in. */
static void amazons_own(void **state)
{
    (void)state;
    const int64_t then = 1790899200; /* 2026-10-02 */
    char *pem, *anchor;
    struct sns_trust *trust;
    assert_int_equal(
        io_read_file(SOURCE_ROOT "/tests/app/certificates/sns-af-south-1.pem", 8192, &pem, NULL), 0);
    assert_int_equal(
        io_read_file(SOURCE_ROOT "/tests/app/certificates/amazon-root-ca-1.pem", 8192, &anchor, NULL), 0);
    assert_int_equal(sns_trust_create(&trust, anchor), 0);
    assert_true(sns_topic_parse(BYTES("arn:aws:sns:af-south-1:123456789012:t"), &topic));
    assert_null(read_key(trust, pem, then));
    assert_non_null(read_key(trust, pem, then - 365 * DAY));
    assert_non_null(read_key(trust, pem, then + 365 * DAY));
    assert_true(sns_topic_parse(BYTES("arn:aws:sns:us-west-2:123456789012:t"), &topic));
    assert_non_null(read_key(trust, pem, then));
    sns_trust_destroy(trust);
    free(pem);
    free(anchor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wishes),
        cmocka_unit_test(between_them),
        cmocka_unit_test(no_certificates),
        cmocka_unit_test(signatures),
        cmocka_unit_test(built_in),
        cmocka_unit_test(amazons_own),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
