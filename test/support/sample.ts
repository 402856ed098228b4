/** One valid request to an RPC. */
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type Message,
  type MessageInitShape,
} from '@bufbuild/protobuf';

export interface SampleRequest {
  readonly method: DescMethod;
  readonly message: Message;
  /** The same with other choices, where one of several can be there. */
  readonly variants: readonly Message[];
}

type Method<I extends DescMessage> = DescMethodUnary<I> | DescMethodServerStreaming<I>;

export function sample<I extends DescMessage>(
  method: Method<I>,
  init: MessageInitShape<I>,
  ...variants: MessageInitShape<I>[]
): SampleRequest {
  return {
    method,
    message: create(method.input, init),
    variants: variants.map((variant) => create(method.input, variant)),
  };
}
