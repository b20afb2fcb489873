/** Connected parts of label images, joined by their sides. */

/**
 * The 4-connected parts of equal, non-zero values, numbered from 1 in reading order.
 *
 * @param {ArrayLike<number>} values
 * @param {number} width
 * @param {number} height
 * @returns {{labels: Int32Array, count: number}}
 */
export function componentsOf(values, width, height) {
  const labels = new Int32Array(width * height);
  const parent = [0];
  const root = (/** @type {number} */ label) => {
    while (parent[label] !== label) {
      parent[label] = parent[parent[label]];
      label = parent[label];
    }
    return label;
  };
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const value = values[i];
      if (!value) continue;
      const left = x > 0 && values[i - 1] === value ? labels[i - 1] : 0;
      const above = y > 0 && values[i - width] === value ? labels[i - width] : 0;
      if (left && above && left !== above) {
        const [a, b] = [root(left), root(above)];
        if (a < b) parent[b] = a;
        else parent[a] = b;
        labels[i] = Math.min(a, b);
      } else if (left || above) {
        labels[i] = left || above;
      } else {
        labels[i] = parent.length;
        parent.push(parent.length);
      }
    }
  }
  // The root of a part is the label of its first pixel, so numbers follow the reading order.
  const number = new Int32Array(parent.length);
  let count = 0;
  for (let label = 1; label < parent.length; label++) {
    const first = root(label);
    number[label] = first === label ? ++count : number[first];
  }
  for (let i = 0; i < labels.length; i++) labels[i] = number[labels[i]];
  return { labels, count };
}

/**
 * How often each number occurs.
 *
 * @param {ArrayLike<number>} labels
 * @param {number} count The highest number.
 */
export function areasOf(labels, count) {
  const areas = new Int32Array(count + 1);
  for (let i = 0; i < labels.length; i++) areas[labels[i]]++;
  return areas;
}

/**
 * For each seed the component that it lies in; 0 for a number that no seed bears.
 *
 * @param {Int32Array} seeds
 * @param {number} count
 * @param {Int32Array} components
 */
export function ownersOf(seeds, count, components) {
  const owner = new Int32Array(count + 1);
  for (let i = 0; i < seeds.length; i++) if (seeds[i]) owner[seeds[i]] = components[i];
  return owner;
}
