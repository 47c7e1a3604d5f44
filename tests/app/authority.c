#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "authority.h"

static void add(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    assert_non_null(extension);
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
}

struct signer signer_make(const struct certificate_wish *wish)
{
    static long serial;
    char names[200];
    struct signer made = {wish->key, X509_new()};
    if (made.key)
        EVP_PKEY_up_ref(made.key);
    else
        made.key = wish->elliptic ? EVP_EC_gen("P-256") : EVP_RSA_gen(wish->rsa_bits ? wish->rsa_bits : 2048);
    assert_true(made.key && made.cert);
    const struct signer *by = wish->by ? wish->by : &made;
    ASN1_INTEGER_set(X509_get_serialNumber(made.cert), ++serial);
    X509_set_version(made.cert, 2);
    ASN1_TIME_set(X509_getm_notBefore(made.cert), (time_t)wish->begin_s);
    ASN1_TIME_set(X509_getm_notAfter(made.cert), (time_t)wish->end_s);
    X509_set_pubkey(made.cert, made.key);
    X509_NAME *name = X509_get_subject_name(made.cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)wish->name, -1, -1, 0);
    X509_set_issuer_name(made.cert, X509_get_subject_name(by->cert));
    if (!wish->no_names && !wish->authority) {
        (void)snprintf(names, sizeof names, "DNS:%s", wish->name);
        add(made.cert, NID_subject_alt_name, names);
    }
    add(made.cert, NID_basic_constraints, wish->authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (wish->authority)
        add(made.cert, NID_key_usage, "critical,keyCertSign");
    assert_true(X509_sign(made.cert, by->key, EVP_sha256()) > 0);
    return made;
}

void signer_free(struct signer *signer)
{
    EVP_PKEY_free(signer->key);
    X509_free(signer->cert);
}

static void append(BIO *bio, char *text)
{
    char *pem;
    long len = BIO_get_mem_data(bio, &pem);
    assert_true(len > 0 && len < 4096);
    strncat(text, pem, (size_t)len);
    BIO_free(bio);
}

void signer_pem(const struct signer *signer, char *text)
{
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_X509(bio, signer->cert), 1);
    append(bio, text);
}

void signer_key_pem(const struct signer *signer, char *text)
{
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PrivateKey(bio, signer->key, NULL, NULL, 0, NULL, NULL), 1);
    append(bio, text);
}

unsigned signer_sign(const struct signer *signer, unsigned version, const char *text, uint8_t signature[512])
{
    size_t len = 512;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(
        EVP_DigestSignInit(ctx, NULL, version == 1 ? EVP_sha1() : EVP_sha256(), NULL, signer->key), 1);
    assert_int_equal(EVP_DigestSign(ctx, signature, &len, (const unsigned char *)text, strlen(text)), 1);
    EVP_MD_CTX_free(ctx);
    return (unsigned)len;
}
