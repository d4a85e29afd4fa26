/** The control thread's half of virtio-crypto (virtio 1.3, section 5.9). */
import { ConfigSpace } from '../config-space.ts';
import type { ConfigField } from '../config-space.ts';
import { VirtioDevice } from '../device.ts';
import type { BackendInit } from '../device.ts';
import type { QueueSpec } from '../queue/configured-queue.ts';
import * as spec from '../spec/crypto.ts';
import { VIRTIO_ID_CRYPTO } from '../spec/device-ids.ts';
import type { FeatureInfo } from '../spec/features.ts';
import { ALGORITHMS } from './algorithms.ts';
import { AUTH_KEY_MAX, CIPHER_KEY_MAX, REQUEST_BYTES_MAX } from './backend.ts';
import type { CryptoBackendOptions, CryptoChange } from './backend.ts';

/** As QEMU's. */
const DATA_QUEUE_SIZE = 1024;
const CONTROL_QUEUE_SIZE = 64;

export interface CryptoDeviceOptions {
  id: string;
  /** Default 1. */
  dataQueues?: number;
}

const FIELDS: readonly ConfigField[] = [
  { name: 'status', offset: spec.CRYPTO_CONFIG_STATUS, size: 4 },
  { name: 'max_dataqueues', offset: spec.CRYPTO_CONFIG_MAX_DATAQUEUES, size: 4 },
  { name: 'crypto_services', offset: spec.CRYPTO_CONFIG_CRYPTO_SERVICES, size: 4 },
  { name: 'cipher_algo_l', offset: spec.CRYPTO_CONFIG_CIPHER_ALGO_L, size: 4 },
  { name: 'cipher_algo_h', offset: spec.CRYPTO_CONFIG_CIPHER_ALGO_H, size: 4 },
  { name: 'hash_algo', offset: spec.CRYPTO_CONFIG_HASH_ALGO, size: 4 },
  { name: 'mac_algo_l', offset: spec.CRYPTO_CONFIG_MAC_ALGO_L, size: 4 },
  { name: 'mac_algo_h', offset: spec.CRYPTO_CONFIG_MAC_ALGO_H, size: 4 },
  { name: 'aead_algo', offset: spec.CRYPTO_CONFIG_AEAD_ALGO, size: 4 },
  { name: 'max_cipher_key_len', offset: spec.CRYPTO_CONFIG_MAX_CIPHER_KEY_LEN, size: 4 },
  { name: 'max_auth_key_len', offset: spec.CRYPTO_CONFIG_MAX_AUTH_KEY_LEN, size: 4 },
  { name: 'akcipher_algo', offset: spec.CRYPTO_CONFIG_AKCIPHER_ALGO, size: 4 },
  { name: 'max_size', offset: spec.CRYPTO_CONFIG_MAX_SIZE, size: 8 },
];

export class CryptoDevice extends VirtioDevice {
  readonly type = 'virtio-crypto';
  readonly virtioId = VIRTIO_ID_CRYPTO;
  readonly featureInfo: readonly FeatureInfo[] = [];
  readonly features = 0n;
  readonly queues: readonly QueueSpec[];
  readonly config = new ConfigSpace(spec.CRYPTO_CONFIG_BYTES, FIELDS);
  readonly backend: BackendInit;

  constructor({ id, dataQueues = 1 }: CryptoDeviceOptions) {
    super(id);
    const data = Array.from({ length: dataQueues }, (_, i) => ({ name: `dataq${i + 1}`, maxSize: DATA_QUEUE_SIZE }));
    this.queues = [...data, { name: 'controlq', maxSize: CONTROL_QUEUE_SIZE }];
    const { config } = this;
    const services = [
      [spec.VIRTIO_CRYPTO_SERVICE_CIPHER, ALGORITHMS.cipher],
      [spec.VIRTIO_CRYPTO_SERVICE_HASH, ALGORITHMS.hash],
      [spec.VIRTIO_CRYPTO_SERVICE_MAC, ALGORITHMS.mac],
      [spec.VIRTIO_CRYPTO_SERVICE_AEAD, ALGORITHMS.aead],
      [spec.VIRTIO_CRYPTO_SERVICE_AKCIPHER, ALGORITHMS.akcipher],
    ];
    config.set(spec.CRYPTO_CONFIG_STATUS, spec.VIRTIO_CRYPTO_S_HW_READY);
    config.set(spec.CRYPTO_CONFIG_MAX_DATAQUEUES, dataQueues);
    config.set(
      spec.CRYPTO_CONFIG_CRYPTO_SERVICES,
      services.reduce((bits, [service, algorithms]) => (algorithms === 0 ? bits : bits | (1 << service)), 0),
    );
    config.set(spec.CRYPTO_CONFIG_CIPHER_ALGO_L, ALGORITHMS.cipher);
    config.set(spec.CRYPTO_CONFIG_HASH_ALGO, ALGORITHMS.hash);
    config.set(spec.CRYPTO_CONFIG_MAC_ALGO_L, ALGORITHMS.mac);
    config.set(spec.CRYPTO_CONFIG_AEAD_ALGO, ALGORITHMS.aead);
    config.set(spec.CRYPTO_CONFIG_AKCIPHER_ALGO, ALGORITHMS.akcipher);
    config.set(spec.CRYPTO_CONFIG_MAX_CIPHER_KEY_LEN, CIPHER_KEY_MAX);
    config.set(spec.CRYPTO_CONFIG_MAX_AUTH_KEY_LEN, AUTH_KEY_MAX);
    config.set(spec.CRYPTO_CONFIG_MAX_SIZE, REQUEST_BYTES_MAX);
    const options: CryptoBackendOptions = { dataQueues };
    this.backend = { type: this.type, options };
  }

  override reset(): void {
    const change: CryptoChange = 'reset';
    // A worker that is gone has no sessions.
    this.host?.configureBackend(change).catch(() => {});
  }
}
