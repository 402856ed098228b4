/** How the library holds messages in memory. */
import type { DescMessage } from '@bufbuild/protobuf';
import { isWrapperDesc, StructSchema, ValueSchema } from '@bufbuild/protobuf/wkt';

/** The library holds some well-known messages as something easier to handle: a Struct as a JSON object. */
export function isHeldAsMessage(message: DescMessage, parent: DescMessage): boolean {
  if (isWrapperDesc(message)) return false;
  return message.typeName !== StructSchema.typeName || parent.typeName === ValueSchema.typeName;
}
