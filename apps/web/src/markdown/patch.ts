/** Makes `target` equal to `source` and leaves alone what already is: a selection or a hover stays while text grows. */
export function patch(target: Node, source: Node): void {
  const wanted = [...source.childNodes];
  wanted.forEach((node, i) => {
    const present = target.childNodes[i];
    if (!present) target.appendChild(node);
    else if (!isAlike(present, node)) target.replaceChild(node, present);
    else if (present instanceof Element) patchElement(present, node as Element);
    else if (present.nodeValue !== node.nodeValue) present.nodeValue = node.nodeValue;
  });
  while (target.childNodes.length > wanted.length) target.lastChild!.remove();
}

const isAlike = (first: Node, second: Node) =>
  first.nodeType === second.nodeType && first.nodeName === second.nodeName;

function patchElement(target: Element, source: Element): void {
  for (const { name } of [...target.attributes]) {
    if (!source.hasAttribute(name) && name !== 'open') target.removeAttribute(name);
  }
  for (const { name, value } of source.attributes) {
    if (target.getAttribute(name) !== value) target.setAttribute(name, value);
  }
  patch(target, source);
}
