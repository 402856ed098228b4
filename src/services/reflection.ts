/**
 * gRPC server reflection, v1 and v1alpha: lets `buf curl` and its kin call this server without proto files.
 *
 * A question that cannot be answered is answered with an error response; the stream goes on. The two versions have
 * the same messages under different names, so v1alpha is carried over as bytes.
 */
import { create, type DescService, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { Code, type ConnectRouter } from '@connectrpc/connect';
import {
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
  ServerReflection as V1,
} from '../../gen/reflection/v1/reflection_pb.js';
import {
  ServerReflectionRequestSchema as AlphaRequestSchema,
  ServerReflectionResponseSchema as AlphaResponseSchema,
  ServerReflection as V1Alpha,
} from '../../gen/reflection/v1alpha/reflection_pb.js';
import { Descriptors } from './descriptors.js';

type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>['messageResponse']>;

/** `services` are those this server has, including reflection itself; asked when the first question comes. */
export function addReflection(router: ConnectRouter, services: () => readonly DescService[]): void {
  let descriptors: Descriptors | undefined;

  function respond(request: ServerReflectionRequest): ServerReflectionResponse {
    descriptors ??= new Descriptors(services().map((service) => service.file));
    return create(ServerReflectionResponseSchema, {
      validHost: request.host,
      originalRequest: request,
      messageResponse: answer(request.messageRequest, descriptors, services),
    });
  }

  router.service(V1, {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) yield respond(request);
    },
  });
  router.service(V1Alpha, {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) {
        const asked = fromBinary(ServerReflectionRequestSchema, toBinary(AlphaRequestSchema, request));
        yield fromBinary(AlphaResponseSchema, toBinary(ServerReflectionResponseSchema, respond(asked)));
      }
    },
  });
}

function answer(
  question: ServerReflectionRequest['messageRequest'],
  descriptors: Descriptors,
  services: () => readonly DescService[],
): Answer {
  switch (question.case) {
    case 'fileByFilename':
      return files(descriptors.byPath(question.value), question.value);
    case 'fileContainingSymbol':
      return files(descriptors.bySymbol(question.value), question.value);
    case 'fileContainingExtension': {
      const { containingType, extensionNumber } = question.value;
      return files(descriptors.byExtension(containingType, extensionNumber), `${containingType} ${extensionNumber}`);
    }
    case 'allExtensionNumbersOfType': {
      const extensionNumber = descriptors.extensionNumbers(question.value);
      if (!extensionNumber) return refusal(Code.NotFound, `${question.value} is not known here`);
      return { case: 'allExtensionNumbersResponse', value: { baseTypeName: question.value, extensionNumber } };
    }
    case 'listServices': {
      const service = services().map(({ typeName }) => ({ name: typeName }));
      return { case: 'listServicesResponse', value: { service } };
    }
    default:
      return refusal(Code.InvalidArgument, 'the request asks nothing');
  }
}

function files(fileDescriptorProto: Uint8Array[] | undefined, wanted: string): Answer {
  if (!fileDescriptorProto) return refusal(Code.NotFound, `${wanted} is not known here`);
  return { case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
}

function refusal(errorCode: Code, errorMessage: string): Answer {
  return { case: 'errorResponse', value: { errorCode, errorMessage } };
}
