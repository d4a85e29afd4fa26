/** Crypto device (virtio 1.3, section 5.9). */

// Services (section 5.9.3); also bits of crypto_services.
export const VIRTIO_CRYPTO_SERVICE_CIPHER = 0;
export const VIRTIO_CRYPTO_SERVICE_HASH = 1;
export const VIRTIO_CRYPTO_SERVICE_MAC = 2;
export const VIRTIO_CRYPTO_SERVICE_AEAD = 3;
export const VIRTIO_CRYPTO_SERVICE_AKCIPHER = 4;

// Opcodes: service << 8 | operation (sections 5.9.7.2 and 5.9.7.4).
export const VIRTIO_CRYPTO_CREATE_SESSION = 0x02;
export const VIRTIO_CRYPTO_DESTROY_SESSION = 0x03;
export const VIRTIO_CRYPTO_AKCIPHER_CREATE_SESSION = 0x404;
export const VIRTIO_CRYPTO_AKCIPHER_DESTROY_SESSION = 0x405;
export const VIRTIO_CRYPTO_CIPHER_ENCRYPT = 0x000;
export const VIRTIO_CRYPTO_CIPHER_DECRYPT = 0x001;
export const VIRTIO_CRYPTO_HASH = 0x100;
export const VIRTIO_CRYPTO_MAC = 0x200;
export const VIRTIO_CRYPTO_AEAD_ENCRYPT = 0x300;
export const VIRTIO_CRYPTO_AEAD_DECRYPT = 0x301;
export const VIRTIO_CRYPTO_AKCIPHER_ENCRYPT = 0x400;
export const VIRTIO_CRYPTO_AKCIPHER_DECRYPT = 0x401;
export const VIRTIO_CRYPTO_AKCIPHER_SIGN = 0x402;
export const VIRTIO_CRYPTO_AKCIPHER_VERIFY = 0x403;

// Algorithms (section 5.9.5).
export const VIRTIO_CRYPTO_CIPHER_AES_ECB = 2;
export const VIRTIO_CRYPTO_CIPHER_AES_CBC = 3;
export const VIRTIO_CRYPTO_CIPHER_AES_CTR = 4;
export const VIRTIO_CRYPTO_CIPHER_AES_XTS = 13;
export const VIRTIO_CRYPTO_HASH_SHA1 = 2;
export const VIRTIO_CRYPTO_HASH_SHA_224 = 3;
export const VIRTIO_CRYPTO_HASH_SHA_256 = 4;
export const VIRTIO_CRYPTO_HASH_SHA_384 = 5;
export const VIRTIO_CRYPTO_HASH_SHA_512 = 6;
export const VIRTIO_CRYPTO_MAC_HMAC_SHA1 = 2;
export const VIRTIO_CRYPTO_MAC_HMAC_SHA_224 = 3;
export const VIRTIO_CRYPTO_MAC_HMAC_SHA_256 = 4;
export const VIRTIO_CRYPTO_MAC_HMAC_SHA_384 = 5;
export const VIRTIO_CRYPTO_MAC_HMAC_SHA_512 = 6;
export const VIRTIO_CRYPTO_AEAD_GCM = 1;
export const VIRTIO_CRYPTO_AKCIPHER_RSA = 1;

export const VIRTIO_CRYPTO_OP_ENCRYPT = 1;
export const VIRTIO_CRYPTO_OP_DECRYPT = 2;
export const VIRTIO_CRYPTO_SYM_OP_CIPHER = 1;
export const VIRTIO_CRYPTO_SYM_OP_ALGORITHM_CHAINING = 2;
export const VIRTIO_CRYPTO_SYM_ALG_CHAIN_ORDER_HASH_THEN_CIPHER = 1;
export const VIRTIO_CRYPTO_SYM_ALG_CHAIN_ORDER_CIPHER_THEN_HASH = 2;
export const VIRTIO_CRYPTO_SYM_HASH_MODE_PLAIN = 1;
export const VIRTIO_CRYPTO_SYM_HASH_MODE_AUTH = 2;

export const VIRTIO_CRYPTO_AKCIPHER_KEY_TYPE_PUBLIC = 1;
export const VIRTIO_CRYPTO_AKCIPHER_KEY_TYPE_PRIVATE = 2;
export const VIRTIO_CRYPTO_RSA_RAW_PADDING = 0;
export const VIRTIO_CRYPTO_RSA_PKCS1_PADDING = 1;

export const VIRTIO_CRYPTO_RSA_NO_HASH = 0;
export const VIRTIO_CRYPTO_RSA_SHA1 = 5;
export const VIRTIO_CRYPTO_RSA_SHA256 = 6;
export const VIRTIO_CRYPTO_RSA_SHA384 = 7;
export const VIRTIO_CRYPTO_RSA_SHA512 = 8;
export const VIRTIO_CRYPTO_RSA_SHA224 = 9;

// Status of a request.
export const VIRTIO_CRYPTO_OK = 0;
export const VIRTIO_CRYPTO_ERR = 1;
export const VIRTIO_CRYPTO_BADMSG = 2;
export const VIRTIO_CRYPTO_NOTSUPP = 3;
export const VIRTIO_CRYPTO_INVSESS = 4;
export const VIRTIO_CRYPTO_NOSPC = 5;
export const VIRTIO_CRYPTO_KEY_REJECTED = 6;

// struct virtio_crypto_config (section 5.9.5): offsets of le32, max_size le64.
export const CRYPTO_CONFIG_STATUS = 0;
export const CRYPTO_CONFIG_MAX_DATAQUEUES = 4;
export const CRYPTO_CONFIG_CRYPTO_SERVICES = 8;
export const CRYPTO_CONFIG_CIPHER_ALGO_L = 12;
export const CRYPTO_CONFIG_CIPHER_ALGO_H = 16;
export const CRYPTO_CONFIG_HASH_ALGO = 20;
export const CRYPTO_CONFIG_MAC_ALGO_L = 24;
export const CRYPTO_CONFIG_MAC_ALGO_H = 28;
export const CRYPTO_CONFIG_AEAD_ALGO = 32;
export const CRYPTO_CONFIG_MAX_CIPHER_KEY_LEN = 36;
export const CRYPTO_CONFIG_MAX_AUTH_KEY_LEN = 40;
export const CRYPTO_CONFIG_AKCIPHER_ALGO = 44;
export const CRYPTO_CONFIG_MAX_SIZE = 48;
export const CRYPTO_CONFIG_BYTES = 56;
export const VIRTIO_CRYPTO_S_HW_READY = 1;

// struct virtio_crypto_op_ctrl_req (section 5.9.7.2): offsets.
export const CTRL_REQUEST_SIZE = 72;
export const CTRL_OPCODE = 0;
/** Of the union; a session to be destroyed is its first le64. */
export const CTRL_UNION = 16;
/** op_type of a cipher session. */
export const CTRL_SYM_OP_TYPE = 64;
/** struct virtio_crypto_session_input: le64 session_id, le32 status, le32 padding. */
export const SESSION_INPUT_SIZE = 16;
export const SESSION_INPUT_STATUS = 8;

// struct virtio_crypto_op_data_req (section 5.9.7.4): offsets.
export const DATA_REQUEST_SIZE = 72;
export const DATA_OPCODE = 0;
export const DATA_SESSION_ID = 8;
export const DATA_UNION = 24;
/** op_type of a symmetric request. */
export const DATA_SYM_OP_TYPE = 64;
