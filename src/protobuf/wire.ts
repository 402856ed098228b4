/** How the length of a value is told on the wire, in the last three bits of its tag. */
export const VARINT = 0;
export const BIT64 = 1;
export const LENGTH_DELIMITED = 2;
export const BIT32 = 5;
