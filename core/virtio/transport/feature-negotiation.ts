/** Feature negotiation that says why it failed (virtio 1.3, section 2.2). */
import { featureBits, featureName, findFeature } from '../spec/features.ts';
import type { FeatureInfo } from '../spec/features.ts';

/**
 * Why the device cannot accept the driver's features, in one line for the inspector; null when it can. Then FEATURES_OK
 * stays set (section 2.2.2).
 *
 * @param offered features of device and transport
 * @param driver what the driver wrote
 * @param known the device type's feature bits
 */
export function featureProblem(offered: bigint, driver: bigint, known: readonly FeatureInfo[]): string | null {
  const unoffered = driver & ~offered;
  if (unoffered !== 0n) {
    return `the driver accepted ${list(unoffered, known)}, which the device did not offer (2.2.1)`;
  }
  for (const bit of featureBits(driver)) {
    const missing = (findFeature(bit, known)?.requires ?? []).filter((needed) => !((driver >> BigInt(needed)) & 1n));
    if (missing.length > 0) {
      const needs = missing.map((needed) => featureName(needed, known)).join(' and ');
      return `the driver accepted ${featureName(bit, known)} without ${needs}, which it requires (2.2.1)`;
    }
  }
  return null;
}

function list(features: bigint, known: readonly FeatureInfo[]): string {
  return featureBits(features)
    .map((bit) => featureName(bit, known))
    .join(', ');
}
