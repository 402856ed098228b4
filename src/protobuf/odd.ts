/** Thrown to leave a message to the library: there is something in it that no well-formed message of ours holds. */
export const odd = new Error('this message is left to the library');
