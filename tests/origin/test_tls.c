/* TLS towards the origin: the certificate and its name are verified, whatever the endpoint says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include "base/error.h"
#include "rig.h"

static char folder[64], cert_path[128], key_path[128];
static struct child child;

/* A self-signed certificate for the name "localhost" only. */
static void make_certificate(long days)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    assert_true(key != NULL && cert != NULL);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_set_version(cert, 2);
    X509_gmtime_adj(X509_getm_notBefore(cert), -10 * 86400);
    X509_gmtime_adj(X509_getm_notAfter(cert), days * 86400);
    X509_set_pubkey(cert, key);
    X509_NAME *name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost");
    assert_non_null(names);
    X509_add_ext(cert, names, -1);
    X509_EXTENSION_free(names);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    FILE *file = fopen(cert_path, "w");
    assert_int_equal(PEM_write_X509(file, cert), 1);
    fclose(file);
    file = fopen(key_path, "w");
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void fetch(struct rig *rig, const char *scheme, const char *host, const char *ca_file, int error)
{
    char endpoint[128];
    const char *why;
    struct origin *origin;
    struct caught caught = {.take_max = 7000};
    snprintf(endpoint, sizeof endpoint, "%s://%s:%u", scheme, host, child.port);
    struct origin_config config = {
        .name = "e", .endpoint = endpoint, .bucket = "b", .ca_file = ca_file, .max_attempts = 2};
    assert_int_equal(origin_create(&origin, &config, &why), 0);
    caught_run(&caught, rig, origin, "ok,size=200000");
    if (caught.fetch.error != error)
        fail_msg("%s with %s: %s", endpoint, ca_file == NULL ? "no ca_file" : ca_file,
            error_text(caught.fetch.error));
    assert_int_equal(caught.len, error == 0 ? 200000 : 0);
    for (size_t i = 0; i < caught.len; i++)
        assert_int_equal(caught.bytes[i], rig_pattern(i, 1));
    if (error == E_TLS)
        assert_non_null(strstr(rig_log(rig), "TLS: "));
    caught_free(&caught);
    origin_destroy(origin);
}

static void with_server(long days, void (*story)(struct rig *rig))
{
    struct rig rig;
    make_certificate(days);
    if (!child_start(&child, "127.0.0.1", cert_path, key_path)) {
        print_message("no python3: skipped\n");
        skip();
    }
    rig_init(&rig);
    story(&rig);
    rig_deinit(&rig);
    child_stop(&child);
}

static void valid_story(struct rig *rig)
{
    fetch(rig, "https", "localhost", cert_path, 0);
    fetch(rig, "https", "localhost", NULL, E_TLS);
    fetch(rig, "https", "localhost", key_path, E_TLS); /* no certificate in it */
    fetch(rig, "https", "localhost", "/does/not/exist", E_TLS);
    fetch(rig, "https", "127.0.0.1", cert_path, E_TLS); /* another name than the certificate's */
    fetch(rig, "https", "localhost", cert_path, 0);
    fetch(rig, "https", "localhost", NULL,
        E_TLS); /* the good connection is not lent to another configuration */
}

static void expired_story(struct rig *rig)
{
    fetch(rig, "https", "localhost", cert_path, E_TLS);
}

static void test_valid(void **state)
{
    (void)state;
    with_server(2, valid_story);
}

static void test_expired(void **state)
{
    (void)state;
    with_server(-1, expired_story);
}

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/yata-tls-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(cert_path, sizeof cert_path, "%s/cert.pem", folder);
    snprintf(key_path, sizeof key_path, "%s/key.pem", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(cert_path);
    unlink(key_path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),
        cmocka_unit_test(test_expired),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
