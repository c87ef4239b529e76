/** The tasks that belong together because one has created the other. Pure. */

import type { FamilyMember } from "./types";

/** Whether an event can change a family: of a member, or of a child of one.
 *
 * @param ids - those of the members; while they are not known, any event can
 */
export function concerns(ids: ReadonlySet<string>, event: { id: string; parent_id?: string | null }): boolean {
  return ids.size === 0 || ids.has(event.id) || ids.has(event.parent_id ?? "");
}

/** Each task directly after its parent, although they come level by level. */
export function inOrder(members: FamilyMember[]): FamilyMember[] {
  const ids = new Set(members.map((one) => one.id));
  const children = new Map<string, FamilyMember[]>();
  for (const one of members) {
    const parent = one.parent_id !== null && ids.has(one.parent_id) ? one.parent_id : "";
    children.set(parent, [...(children.get(parent) ?? []), one]);
  }
  const ordered: FamilyMember[] = [];
  const open = [...(children.get("") ?? [])].reverse();
  for (let next = open.pop(); next; next = open.pop()) {
    ordered.push(next);
    open.push(...[...(children.get(next.id) ?? [])].reverse());
  }
  return ordered;
}
