/** What a model writes is a stranger's text: only harmless HTML of it reaches the page. */
import DOMPurify from 'dompurify';

const kTags = [
  'a', 'abbr', 'b', 'blockquote', 'br', 'caption', 'code', 'dd', 'del', 'details', 'dl', 'dt', 'em', 'figure', 'h3', 'h4', 'h5',
  'h6', 'hr', 'i', 'img', 'ins', 'kbd', 'li', 'mark', 'ol', 'p', 'pre', 'q', 's', 'samp', 'small', 'span', 'strong', 'sub',
  'summary', 'sup', 'table', 'tbody', 'td', 'tfoot', 'th', 'thead', 'tr', 'u', 'ul', 'var',
];
const kAttributes = ['alt', 'align', 'class', 'colspan', 'href', 'rowspan', 'src', 'start', 'title'];

/** The classes that our renderer writes; any other could dress a reply as a part of the page. */
const kClasses = /^(?:language-[\w+#.-]+|math|math-display)$/;
const kAddress = /^(?:https?:|mailto:)/i;
const kPicture = /^data:image\/(?:png|jpeg|gif|webp);base64,/i;

const purify = DOMPurify(window);

purify.addHook('uponSanitizeAttribute', (element, attribute) => {
  const { attrName, attrValue } = attribute;
  if (attrName === 'class') attribute.keepAttr = kClasses.test(attrValue);
  if (attrName === 'href') attribute.keepAttr = kAddress.test(attrValue.trim());
  if (attrName === 'src') attribute.keepAttr = element.nodeName === 'IMG' && kPicture.test(attrValue.trim());
});

purify.addHook('afterSanitizeAttributes', (element) => {
  if (element.nodeName !== 'A' || !element.hasAttribute('href')) return;
  element.setAttribute('target', '_blank');
  element.setAttribute('rel', 'noopener noreferrer nofollow');
});

/** The harmless part of an HTML text. */
export function sanitize(html: string): DocumentFragment {
  return purify.sanitize(html, {
    ALLOWED_TAGS: kTags,
    ALLOWED_ATTR: kAttributes,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
}
