// Masks as run lengths down the columns of the whole image, painted at the size that is shown.

// Which shown pixel, along one side, has its centre in each pixel of the image; −1 for none.
function shownAt(full, shown) {
  const at = new Int32Array(full).fill(-1);
  for (let place = 0; place < shown; place++) at[Math.floor(((place + 0.5) * full) / shown)] = place;
  return at;
}

// A mask of width × height from run lengths of size.width × size.height, row by row, 0 or 1.
export function shownMask(counts, size, width, height) {
  const mask = new Uint8Array(width * height);
  const columns = shownAt(size.width, width);
  const rowFrom = (row) => Math.max(0, Math.ceil((row * height) / size.height - 0.5));
  let position = 0;
  counts.forEach((length, index) => {
    const end = position + length;
    while (index % 2 && position < end) {
      const column = Math.floor(position / size.height);
      const top = position - column * size.height;
      const bottom = Math.min(size.height, top + end - position);
      const x = columns[column];
      if (x >= 0) for (let y = rowFrom(top); y < rowFrom(bottom); y++) mask[y * width + x] = 1;
      position += bottom - top;
    }
    position = end;
  });
  return mask;
}

export const areaOf = (counts) => counts.reduce((sum, length, index) => sum + (index % 2) * length, 0);

// The mask as a picture: a light fill and a firm edge in the colour [r, g, b].
export function painted(mask, width, height, colour, fill = 90) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = y * width + x;
      if (!mask[at]) continue;
      const inner = x > 0 && mask[at - 1] && x < width - 1 && mask[at + 1]
        && y > 0 && mask[at - width] && y < height - 1 && mask[at + width];
      pixels.data.set([...colour, inner ? fill : 255], at * 4);
    }
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}
