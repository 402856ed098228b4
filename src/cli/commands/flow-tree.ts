/** `tailrace flows tree`: the events and executions of a flow under what caused them. */
import { ExecutionStateSchema } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { type FlowTreeNode, FlowTreeNodeSchema } from '../../../gen/tailrace/v1/flow_pb.js';
import { command } from '../command.js';
import { nameOf } from '../enum-words.js';
import { fields } from '../fields.js';
import { listDocument } from '../json.js';
import { type Output, plain } from '../output.js';
import { collect, PAGES } from '../pages.js';
import { argument, text, whole } from '../rules.js';
import { colored } from '../table.js';
import { watching } from '../watching.js';

export const flowTree = command({
  name: 'tree',
  about: 'Show the events and executions of a flow as a tree of causes.',
  arguments: { flow: argument('flow', 'Id of the flow.') },
  options: {
    root: text('id', 'Begin at this execution or event.'),
    depth: whole('count', 'Levels at most.', 1),
    ...PAGES,
  },
  examples: [['Three levels of it', 'tailrace flows tree 01890a5d-… --depth 3']],
  async run(session, given) {
    const { output } = session;
    return await watching(session, given.watch, async () => {
      const { items, nextPageToken } = await collect(given, async (page) => {
        const asked = fields({
          namespace: session.namespace,
          flowId: given.flow,
          rootNodeId: given.root,
          maxDepth: given.depth,
          ...page,
        });
        const { nodes, nextPageToken } = await session.api.admin.getFlowTree(asked, session.bounds());
        return { items: nodes, nextPageToken };
      });
      if (output.json) return listDocument(FlowTreeNodeSchema, items, nextPageToken);
      if (nextPageToken) output.note(`there is more: --all, or --page-token ${nextPageToken}`);
      return items.map((node) => lineOf(node, output)).join('\n');
    });
  },
});

function lineOf({ depth, nodeId, node }: FlowTreeNode, output: Output): string {
  const indent = depth === 0 ? '' : `${'   '.repeat(depth - 1)}└─ `;
  if (node.case === 'event') {
    return `${indent}${output.style('dim', 'event')} ${plain(node.value.type)} ${plain(nodeId)} ${output.time(node.value.publishTime)}`;
  }
  const is = node.value;
  const state = colored(nameOf(ExecutionStateSchema, is?.state ?? 0), output);
  return `${indent}${plain(is?.type ?? '')} ${nodeId} ${state} ${output.time(is?.outcome?.endTime ?? is?.createTime)}`;
}
