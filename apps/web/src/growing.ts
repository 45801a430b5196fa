/** Action: a text area as high as its text. The value is only to say when it changes. */
export function growing(area: HTMLTextAreaElement, _value: string) {
  const grow = () => {
    area.style.height = 'auto';
    area.style.height = `${area.scrollHeight}px`;
  };
  grow();
  return { update: grow };
}
