/** Types of messages: those that are served, and those of others, which hold kinds of fields that ours have not. */
import type { DescFile, DescMessage } from '@bufbuild/protobuf';
import { nestedTypes } from '@bufbuild/protobuf/reflect';
import {
  file_google_protobuf_api,
  file_google_protobuf_descriptor,
  file_google_protobuf_field_mask,
  file_google_protobuf_wrappers,
} from '@bufbuild/protobuf/wkt';
import { file_health_v1_health } from '../../gen/health/v1/health_pb.js';
import { file_reflection_v1_reflection } from '../../gen/reflection/v1/reflection_pb.js';
import { file_tailrace_v1_admin_service } from '../../gen/tailrace/v1/admin_service_pb.js';
import { file_tailrace_v1_completion_service } from '../../gen/tailrace/v1/completion_service_pb.js';
import { file_tailrace_v1_dead_letter_service } from '../../gen/tailrace/v1/dead_letter_service_pb.js';
import { file_tailrace_v1_engine_service } from '../../gen/tailrace/v1/engine_service_pb.js';
import { file_tailrace_v1_error } from '../../gen/tailrace/v1/error_pb.js';
import { foreignFiles } from './foreign-files.js';

export const ours = messagesOf(
  file_tailrace_v1_engine_service,
  file_tailrace_v1_completion_service,
  file_tailrace_v1_dead_letter_service,
  file_tailrace_v1_admin_service,
  file_tailrace_v1_error,
  file_health_v1_health,
  file_reflection_v1_reflection,
);
export const foreign = messagesOf(
  ...foreignFiles,
  file_google_protobuf_api,
  file_google_protobuf_wrappers,
  file_google_protobuf_field_mask,
  file_google_protobuf_descriptor,
);

function messagesOf(...files: DescFile[]): [string, DescMessage][] {
  const found = new Map<string, DescMessage>();
  const add = (file: DescFile) => {
    for (const type of nestedTypes(file)) if (type.kind === 'message') found.set(type.typeName, type);
    file.dependencies.filter(({ proto }) => !proto.package.startsWith('google')).forEach(add);
  };
  files.forEach(add);
  return [...found];
}
