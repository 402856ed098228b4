/** Sizes as people read them: `1.4 GiB`. */
const UNITS = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export function byteText(bytes: bigint): string {
  if (bytes < 1_024n) return `${bytes} B`;
  let size = Number(bytes) / 1_024;
  let unit = 0;
  for (; size >= 1_024 && unit < UNITS.length - 1; unit++) size /= 1_024;
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${UNITS[unit]}`;
}
