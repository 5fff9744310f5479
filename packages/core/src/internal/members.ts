/** The targets of a chain: the services it was given, or, of a chain among them that goes by the same rules, its targets. */
import type { Service } from "../LlmProvider.ts"
import type { Service as Memory } from "../PolicyMemory.ts"
import type { Run, Settings } from "./chain.ts"
import { targetsOf } from "./provider.ts"
import * as Remembered from "./remembered.ts"
import { isLimited, Known, type Target, targetOf } from "./target.ts"

type Targets = Run<"generate">["targets"]

/** What does not depend on the request. */
type Plan = Pick<Run<"generate">, "settings" | "targets" | "limited">

interface Member {
  /** The service as one target, whatever it may ask itself. */
  readonly target: Target
  readonly chain: Members | undefined
}

const kind = new Remembered.Kind(() => new Map<string, Known>())

const chains = new WeakMap<Service, Members>()

/** How often any chain was given other options: it may be a part of another, which then has other targets. */
let changes = 0

export class Members {
  private readonly all: readonly [Member, ...Array<Member>]
  /** What its members are called in memory, and those of the chains among them. */
  private readonly names = new Set<string>()
  private settings: Settings
  private made: Plan | undefined = undefined
  private seen = changes

  constructor(
    services: readonly [Service, ...Array<Service>],
    settings: Settings,
    where: { readonly memory: Memory | undefined; readonly name: string }
  ) {
    const remembered = Remembered.at(where.memory, kind, where.name)
    for (const service of services) for (const name of chains.get(service)?.names ?? []) this.names.add(name)
    const [first, ...others] = services
    const member = (service: Service): Member => {
      const name = this.nameOf(service)
      const known = remembered.get(name) ?? new Known()
      remembered.set(name, known)
      return { target: targetOf(service, known), chain: chains.get(service) }
    }
    this.all = [member(first), ...others.map(member)]
    this.settings = settings
    this.weigh(settings)
  }

  /** Makes it known that a service is the chain of these. */
  belongTo(service: Service): void {
    chains.set(service, this)
  }

  get order(): Settings["order"] {
    return this.settings.order
  }

  /** What a call goes by that begins now. */
  get plan(): Plan {
    if (this.made === undefined || this.seen !== changes) {
      this.seen = changes
      this.made = this.planned()
    }
    return this.made
  }

  reconfigure(settings: Settings): void {
    this.settings = settings
    this.weigh(settings)
    changes += 1
  }

  private weigh({ weights }: Settings): void {
    for (const [i, { target }] of this.all.entries()) target.weight = weights?.[i] ?? 1
  }

  private planned(): Plan {
    const { settings } = this
    const [first, ...others] = this.all
    const targets: Targets = [...this.targetsIn(first), ...others.flatMap((member) => this.targetsIn(member))]
    return { settings, targets, limited: targets.some(isLimited) }
  }

  /** A chain in a chain under the same rules is one longer chain. */
  private targetsIn({ chain, target }: Member): Targets {
    return chain !== undefined && this.settings.order === "given" && isSame(chain.settings, this.settings)
      ? chain.plan.targets
      : [target]
  }

  /** The targets of a service, with a number where another member has the same. */
  private nameOf(service: Service): string {
    const name = targetsOf(service).map(({ model, provider }) => `${provider}/${model}`).join(" or ")
    let unique = name
    for (let i = 2; this.names.has(unique); i++) unique = `${name} (${i})`
    this.names.add(unique)
    return unique
  }
}

const isSame = (a: Settings, b: Settings): boolean =>
  a.rule === b.rule && a.contentRefusal === b.contentRefusal && a.classify === b.classify && a.order === b.order &&
  a.after === b.after && a.benchedFor === b.benchedFor && a.lastResort === b.lastResort
