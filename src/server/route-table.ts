/**
 * Where services are registered: the router that Connect services expect, and the map from paths to methods.
 *
 * Methods that a service leaves out are there and refuse with UNIMPLEMENTED. Client streaming is not served; the API
 * does without it.
 */
import type { DescMethod, DescService } from '@bufbuild/protobuf';
import {
  type ConnectRouter,
  createMethodImplSpec,
  type MethodImpl,
  type MethodImplSpec,
  type ServiceImpl,
} from '@connectrpc/connect';
import { withUnimplemented } from '../services/unimplemented.js';

export type Route = Exclude<MethodImplSpec, { kind: 'client_streaming' }>;

export class RouteTable implements ConnectRouter {
  /** Connect's own handlers; there are none, this server has its own. */
  readonly handlers = [];
  readonly #routes = new Map<string, Route>();
  readonly #services = new Map<string, DescService>();

  service<S extends DescService>(service: S, implementation: Partial<ServiceImpl<S>>): this {
    const complete = withUnimplemented(service, implementation) as Record<string, MethodImpl<DescMethod>>;
    for (const method of service.methods) this.rpc(method, complete[method.localName] as MethodImpl<DescMethod>);
    return this;
  }

  rpc<M extends DescMethod>(method: M, implementation: MethodImpl<M>): this {
    const route = createMethodImplSpec(method, implementation);
    if (route.kind === 'client_streaming')
      throw new Error(`${method.name} streams from the client, which is not served`);
    this.#services.set(method.parent.typeName, method.parent);
    this.#routes.set(`/${method.parent.typeName}/${method.name}`, route);
    return this;
  }

  find(path: string): Route | undefined {
    return this.#routes.get(path);
  }

  get services(): readonly DescService[] {
    return [...this.#services.values()];
  }
}
