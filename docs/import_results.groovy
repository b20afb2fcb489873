// Imports what `abbe predict --results geojson` wrote for every image of a QuPath project.
//
// Run it from QuPath's script editor (Run, not "Run for project"), with the project open.
// FOLDER holds NAME.geojson or NAME.geojson.gz for an image file NAME.svs, NAME.ome.tif and so on.
// Objects that an earlier run of this script imported are removed first; your own annotations stay.

import java.util.zip.GZIPInputStream
import qupath.lib.io.GsonTools
import qupath.lib.io.PathIO
import qupath.lib.objects.PathObject

def FOLDER = buildFilePath(PROJECT_BASE_DIR, 'abbe-results')
def MARK = 'imported from'   // the key by which this script knows its objects again

def stemOf(String name) {
    def lower = name.toLowerCase()
    for (suffix in ['.ome.tif', '.ome.tiff', '.ome.zarr'])
        if (lower.endsWith(suffix))
            return name[0..<(name.length() - suffix.length())]
    int dot = name.lastIndexOf('.')
    return dot > 0 ? name[0..<dot] : name
}

List<PathObject> read(File file) {
    if (!file.name.endsWith('.gz'))
        return PathIO.readObjects(file)
    def kind = new com.google.gson.reflect.TypeToken<List<PathObject>>() {}.type
    file.withInputStream { stream ->
        def reader = new InputStreamReader(new GZIPInputStream(stream), 'UTF-8')
        def features = com.google.gson.JsonParser.parseReader(reader).getAsJsonObject().get('features')
        return GsonTools.getInstance().fromJson(features, kind)
    }
}

def project = getProject()
if (project == null) {
    println 'Open a project first'
    return
}
int images = 0
def without = []
for (entry in project.getImageList()) {
    def uris = entry.getURIs()
    def name = uris.isEmpty() ? entry.getImageName() : new File(uris[0].getPath()).getName()
    def file = ['.geojson', '.geojson.gz'].collect { new File(FOLDER, stemOf(name) + it) }.find { it.exists() }
    if (file == null) {
        without << entry.getImageName()
        continue
    }
    def objects = read(file)
    objects.each { it.getMetadata().put(MARK, file.name) }
    def imageData = entry.readImageData()
    def hierarchy = imageData.getHierarchy()
    def earlier = hierarchy.getAllObjects(false).findAll { it.getMetadata().containsKey(MARK) }
    hierarchy.removeObjects(earlier, true)
    hierarchy.addObjects(objects)
    entry.saveImageData(imageData)
    imageData.getServer().close()
    images++
    println "${entry.getImageName()}: ${objects.size()} objects from ${file.name}"
}
println "${images} images have their objects" + (without ? "; without results in ${FOLDER}: ${without.join(', ')}" : '')
