/** A file with what Tailrace's own messages do not use, and one day might. */
import { create, createFileRegistry, type DescFile, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type FieldDescriptorProtoSchema,
  FieldOptions_JSType,
  FileDescriptorProtoSchema,
  file_google_protobuf_struct,
  file_google_protobuf_wrappers,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from '@bufbuild/protobuf/wkt';

type FieldInit = MessageInitShape<typeof FieldDescriptorProtoSchema>;

const WRAPPER = '.google.protobuf.Int64Value';
const STRUCT = '.google.protobuf.Struct';

function fields(...inits: FieldInit[]): FieldInit[] {
  return inits.map((init, index) => ({
    label: Label.OPTIONAL,
    name: `field_${index}`,
    number: 1 + index * 300,
    ...init,
  }));
}

/** The fields of a map's entry are numbered one and two. */
function entry(name: string, key: Type, value: FieldInit) {
  const [first, second] = [
    { name: 'key', number: 1, type: key },
    { name: 'value', number: 2, ...value },
  ];
  return { name, field: fields(first, second), options: { mapEntry: true } };
}

const proto3 = create(FileDescriptorProtoSchema, {
  name: 'foreign.proto',
  package: 'foreign',
  syntax: 'proto3',
  dependency: ['google/protobuf/wrappers.proto', 'google/protobuf/struct.proto', 'foreign2.proto'],
  messageType: [
    {
      name: 'Foreign',
      oneofDecl: [{ name: 'choice' }, { name: '_field_9' }],
      nestedType: [
        entry('Field0Entry', Type.INT32, { type: Type.STRING }),
        entry('Field1Entry', Type.BOOL, { type: Type.MESSAGE, typeName: '.foreign.Foreign' }),
        entry('Field2Entry', Type.STRING, { type: Type.MESSAGE, typeName: STRUCT }),
        entry('Field3Entry', Type.STRING, { type: Type.SFIXED64 }),
      ],
      field: fields(
        { label: Label.REPEATED, type: Type.MESSAGE, typeName: '.foreign.Foreign.Field0Entry' },
        { label: Label.REPEATED, type: Type.MESSAGE, typeName: '.foreign.Foreign.Field1Entry' },
        { label: Label.REPEATED, type: Type.MESSAGE, typeName: '.foreign.Foreign.Field2Entry' },
        { label: Label.REPEATED, type: Type.MESSAGE, typeName: '.foreign.Foreign.Field3Entry' },
        { type: Type.MESSAGE, typeName: WRAPPER },
        { type: Type.MESSAGE, typeName: WRAPPER, oneofIndex: 0 },
        { type: Type.UINT32, oneofIndex: 0 },
        { label: Label.REPEATED, type: Type.MESSAGE, typeName: WRAPPER },
        { label: Label.REPEATED, type: Type.MESSAGE, typeName: STRUCT },
        { type: Type.FLOAT, oneofIndex: 1, proto3Optional: true },
        { type: Type.FLOAT },
        { type: Type.INT64, options: { jstype: FieldOptions_JSType.JS_STRING } },
        { label: Label.REPEATED, type: Type.INT64, options: { jstype: FieldOptions_JSType.JS_STRING } },
        { label: Label.REPEATED, type: Type.SINT32 },
        { label: Label.REPEATED, type: Type.DOUBLE },
        { label: Label.REPEATED, type: Type.INT32, options: { packed: false } },
        { label: Label.REPEATED, type: Type.BYTES },
        { type: Type.MESSAGE, typeName: '.foreign.Old' },
      ),
    },
  ],
});

const proto2 = create(FileDescriptorProtoSchema, {
  name: 'foreign2.proto',
  package: 'foreign',
  syntax: 'proto2',
  messageType: [
    {
      name: 'Old',
      nestedType: [{ name: 'Field2', field: fields({ type: Type.BOOL }) }],
      field: fields(
        { label: Label.REQUIRED, type: Type.INT32 },
        { type: Type.STRING, defaultValue: 'something' },
        { name: 'field2', label: Label.REPEATED, type: Type.GROUP, typeName: '.foreign.Old.Field2' },
      ),
    },
  ],
});

const registry = createFileRegistry(proto3, (name) => {
  if (name === proto2.name) return proto2;
  return [file_google_protobuf_struct, file_google_protobuf_wrappers].find((file) => file.proto.name === name);
});

export const foreignFiles: DescFile[] = [...registry.files].filter((file) => file.proto.package === 'foreign');
