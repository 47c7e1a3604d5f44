/*
 * The authorities that stand between Amazon's roots and the certificates that SNS signs with: Amazon RSA 2048
 * M01 to M04, in PEM, in force until 2030-08-23 (https://www.amazontrust.com/repository/). Public data; each
 * counts only as what "Amazon Root CA 1" of the system's store has signed, which a test holds.
 */
#pragma once

extern const char sns_intermediates[];
