/**
 * The host bridge's four INTx lines, each shared by the functions on it (PCI 3.0, section 2.2.6). A function's pin on a line
 * is an input of its own: INTX_INPUT + line * INTX_LINE_INPUTS + n, where n is the function's, and the line is high while any
 * of its inputs is. Read by TypeScript and AssemblyScript alike: nothing but integer constants.
 */

/** Number of the first input; above all sources of the interrupt controllers. */
export const INTX_INPUT = 0x1000;
export const INTX_LINES = 4;
/** Inputs of a line. Virtio slot n's is n; other functions have those from MAX_VIRTIO on. */
export const INTX_LINE_INPUTS = 128;
