/*
 * A certificate authority for tests: keys and certificates made on the spot.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <openssl/x509.h>

struct signer {
    EVP_PKEY *key;
    X509 *cert;
};

struct certificate_wish {
    const char *name;        /* CN, and in subjectAltName unless no_names */
    const struct signer *by; /* NULL: itself */
    int64_t begin_s, end_s;  /* since 1970 */
    bool authority, no_names, elliptic;
    unsigned rsa_bits; /* 0: 2,048 */
    EVP_PKEY *key;     /* NULL: a new one, which takes a while where it is RSA */
};

struct signer signer_make(const struct certificate_wish *wish);
void signer_free(struct signer *signer);
/* PEM of the certificate, appended to text (at least 4096 bytes left), which is a string. */
void signer_pem(const struct signer *signer, char *text);
void signer_key_pem(const struct signer *signer, char *text);
/* PKCS#1 1.5; the signature's length. */
unsigned signer_sign(const struct signer *signer, unsigned version, const char *text, uint8_t signature[512]);
